"""From any module to a graph of its submodules, by torch.fx: where it can be cut, and its cut into stages.

A network can be cut behind a submodule if exactly one tensor crosses there, and no parameter is used on both sides.
"""

import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from dtfl_private.errors import InputError, unknown_name
from dtfl_private.models.cutting.staged import StagedModel, numbered

MODE = "it depends on self.training"

# The placeholder of a tensor while torch.fx traces: its errors speak of it, and no user knows it.
STAND_IN = "Proxy"

OF_TORCH = str(Path(torch.__file__).parent)
HERE = str(Path(__file__))


class _Tracer(fx.Tracer):
    """Symbolic tracing that keeps submodules whole where ``opened`` says no, and remembers what each one returns."""

    def __init__(self, opened: Callable[[str], bool]) -> None:
        super().__init__()
        self._opened = opened
        self.outputs: dict[str, list[fx.Node | None]] = {}
        self.failed_in: str | None = None

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        # A module without children may ask for self.training, which tracing would freeze: it stays as it is.
        childless = not any(True for _ in m.children())
        library = super().is_leaf_module(m, module_qualified_name)
        return childless or library or not self._opened(module_qualified_name)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        path = self.path_of_module(m)
        try:
            result = super().call_module(m, forward, args, kwargs)
        except Exception:  # whatever it is, it goes on; here only its place is noted
            self.failed_in = self.failed_in or path
            raise
        self.outputs.setdefault(path, []).append(result.node if isinstance(result, fx.Proxy) else None)
        return result


@dataclass(frozen=True, kw_only=True)
class Traced:
    """A module as a graph of calls; ``outputs`` gives the nodes that the calls of each submodule return, by its name.

    Submodules come before those that contain them, each in order of execution. ``whole`` says of submodules that could
    not be opened why, by their names.
    """

    module: nn.Module
    graph: fx.Graph
    outputs: dict[str, list[fx.Node | None]]
    whole: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def position(self) -> dict[fx.Node, int]:
        """Place of each node in the order of execution."""
        return {node: number for number, node in enumerate(self.graph.nodes)}

    @cached_property
    def last_use(self) -> dict[fx.Node, int]:
        """Place of the last node that uses the value of each one; its own place if none does."""
        return {
            node: max((self.position[user] for user in node.users), default=place)
            for node, place in self.position.items()
        }

    @cached_property
    def crossings(self) -> list[int]:
        """Number of values that are used behind each place and come from there or from before."""
        changes = [0] * (len(self.position) + 1)
        for node, place in self.position.items():
            changes[place] += 1
            changes[self.last_use[node]] -= 1
        return list(accumulate(changes))

    @cached_property
    def parameter_spans(self) -> list[tuple[int, int]]:
        """First and last use of each parameter, as places of nodes."""
        spans: dict[int, tuple[int, int]] = {}
        for node, place in self.position.items():
            for parameter in _parameters(self.module, node):
                first, _ = spans.get(id(parameter), (place, place))
                spans[id(parameter)] = (first, place)
        return list(spans.values())


def trace(
    module: nn.Module, opened: Callable[[str], bool] = lambda _: True, known: Mapping[str, str] | None = None
) -> Traced:
    """Return the graph of a module, whose submodules are opened where ``opened`` (of the name) allows it.

    Submodules that torch.fx cannot follow (control flow that depends on values), and those that do other things in
    training than in evaluation, are kept whole, with all that is in them: ``known`` are those that were found when more
    was opened, among which all of the second kind are.

    Raises:
        InputError: the module's own ``forward`` is of that kind.
    """
    whole = dict(known or {})
    modes = [(part, part.training) for part in module.modules()]
    try:
        while True:
            try:
                tracer = _trace_once(module, opened, whole, training=True)
                other = tracer if known is not None else _trace_once(module, opened, whole, training=False)
            except _UntraceableError as stop:
                whole[_within(stop.path, stop.reason, module)] = stop.reason
                continue
            differing = None if other is tracer else _first_difference(tracer.graph, other.graph)
            if differing is None:
                return Traced(module=module, graph=tracer.graph, outputs=tracer.outputs, whole=whole)
            whole[_within(_owner(differing), MODE, module)] = MODE
    finally:
        for part, training in modes:
            part.training = training


class _UntraceableError(Exception):
    def __init__(self, path: str | None, reason: str) -> None:
        super().__init__(reason)
        self.path, self.reason = path, reason


def _within(path: str | None, reason: str, module: nn.Module) -> str:
    if not path:
        raise InputError(
            f"{type(module).__name__}.forward cannot be cut: {reason}; keep that part in a submodule of its own, or "
            "write the network as a StagedModel"
        )
    return path


def _trace_once(
    module: nn.Module, opened: Callable[[str], bool], whole: Mapping[str, str], *, training: bool
) -> _Tracer:
    module.train(training)
    tracer = _Tracer(lambda path: path not in whole and opened(path))
    try:
        tracer.graph = tracer.trace(module)
    except Exception as error:  # a user's forward may raise anything; it becomes a reason
        raise _UntraceableError(tracer.failed_in, _reason(error)) from None
    return tracer


def _reason(error: Exception) -> str:
    """Return why a forward cannot be traced, in words that speak of the network and not of the tracing."""
    reason = " ".join(str(error).split()).partition(". ")[0]
    if not reason or STAND_IN in reason:
        reason = "an operation asks for a value that is known only when the network runs"
    # The operation that failed: the innermost line outside of torch, which is the network's own.
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(OF_TORCH)]
    line = own[-1].line if own and own[-1].filename != HERE else None
    return f"{reason}, at '{line}'" if line else reason


def _first_difference(one: fx.Graph, other: fx.Graph) -> fx.Node | None:
    ours: fx.Node
    for ours, theirs in zip(one.nodes, other.nodes, strict=False):
        texts = [(node.op, str(node.target), str(node.args), str(node.kwargs)) for node in (ours, theirs)]
        if texts[0] != texts[1]:
            return ours
    return None


def _owner(node: fx.Node) -> str | None:
    """Return the name of the innermost opened submodule whose forward made this node."""
    stack = [str(path) for path in node.meta.get("nn_module_stack", {}) if path != node.target]
    return stack[-1] if stack else None


def cut_points(traced: Traced) -> list[str]:
    """Return the submodules behind which the network can be cut, in order of execution, each point once.

    Where several submodules return the same tensor, the outermost names it. The network's own output is no cut.
    """
    names: dict[fx.Node, str] = {}
    for path, nodes in traced.outputs.items():
        if obstacle(traced, path) is None and nodes[0] is not None:
            names[nodes[0]] = path  # outer submodules return later, and take over
    return [names[node] for node in sorted(names, key=lambda node: traced.position[node])]


def obstacle(traced: Traced, name: str) -> str | None:
    """Return why the network cannot be cut behind a submodule, or None if it can."""
    returned: list[fx.Node | None] = traced.outputs.get(name, [])
    if not returned:
        return _why_never_seen(traced, name)
    if len(returned) != 1:
        return f"it is called {len(returned)} times"
    node = returned[0]
    if node is None:
        return "it does not return one tensor"
    end = traced.position[node]
    if any(user.op == "output" for user in node.users):
        return "it returns the network's output"
    if traced.crossings[end] != 1 or traced.last_use[node] <= end:
        crossing = [other for other, place in traced.position.items() if place <= end < traced.last_use[other]]
        return f"{len(crossing)} values cross it: {', '.join(str(other) for other in crossing)}"
    if any(first <= end < last for first, last in traced.parameter_spans):
        return "parameters are used on both sides of it"
    return None


def _why_never_seen(traced: Traced, name: str) -> str:
    """Return why no call of a submodule is in the graph: what is inside a part that is kept whole is not seen."""
    called = [path for path in traced.outputs if name.startswith(f"{path}.")]
    if not called:
        return "it is never called"
    part = max(called, key=len)
    if not any(node.op == "call_module" and node.target == part for node in traced.graph.nodes):
        return "it is never called"
    why = traced.whole.get(part, "torch's own modules are not opened")
    instead = f"; cut behind '{part}' instead" if obstacle(traced, part) is None else ""
    return f"it lies inside '{part}', which is kept whole ({why}){instead}"


def _parameters(module: nn.Module, node: fx.Node) -> Iterable[object]:
    """Return the parameters, or other stored values, that a node uses."""
    if node.op == "call_module":
        return module.get_submodule(str(node.target)).parameters()
    if node.op == "get_attr":
        holder, _, attribute = str(node.target).rpartition(".")
        return [getattr(module.get_submodule(holder), attribute)]
    return []


def staged(module: nn.Module, cuts: Sequence[str]) -> StagedModel:
    """Cut any module behind the named submodules, in order of execution.

    Args:
        module: a network that takes one tensor and returns one; the stages share its parameters.
        cuts: names of submodules as ``named_modules`` gives them (``layer1``, ``layer2.0``).

    Returns:
        A StagedModel of ``len(cuts) + 1`` stages md1, md2, ...; md_m ends behind ``cuts[m - 1]``.

    Raises:
        InputError: an unknown name, cuts out of order, or a place where not exactly one tensor crosses.
    """
    known = dict(module.named_modules())
    for name in cuts:
        if not name or name not in known:
            raise unknown_name(f"cut point of {type(module).__name__}", name, [path for path in known if path])
    everything = trace(module)
    for name in cuts:
        reason = obstacle(everything, name)
        if reason is not None:
            raise InputError(f"{type(module).__name__} cannot be cut behind '{name}': {reason}")
    return stages_behind(module, cuts, everything.whole)


def stages_behind(module: nn.Module, cuts: Sequence[str], whole: Mapping[str, str]) -> StagedModel:
    """Do what `staged` does with cuts that `cut_points` has found possible; ``whole`` is that of the `trace`."""
    # The stages are made of parts as large as the cuts allow, which keep their own code.
    around = {name[:end] for name in cuts for end, sign in enumerate(name) if sign == "."}
    traced = trace(module, around.__contains__, whole)
    nodes = list(traced.graph.nodes)
    ends = [traced.position[node] for name in cuts for node in traced.outputs[name] if node is not None]
    if ends != sorted(set(ends)):
        raise InputError(
            f"cuts {', '.join(cuts)} are not in the order in which the network runs, or one is twice there"
        )
    starts = [0, *(end + 1 for end in ends)]
    stages = [
        _stage(module, nodes[start:stop], nodes[start - 1] if start else None)
        for start, stop in zip(starts, [*starts[1:], len(nodes)], strict=True)
    ]
    return numbered(stages)


def _stage(module: nn.Module, nodes: Sequence[fx.Node], source: fx.Node | None) -> nn.Module:
    """Return the stage that these nodes make; ``source`` is the node whose value comes in, None for the first stage."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    if source is not None:
        copies[source] = graph.placeholder("inputs")
    for node in nodes:
        copies[node] = graph.node_copy(node, lambda old: copies[old])
    if nodes[-1].op != "output":
        graph.output(copies[nodes[-1]])
    with torch.no_grad():
        return fx.GraphModule(module, graph, class_name="Stage")
