"""What decides the operations of a network, apart from its inputs: equal networks have their costs counted once."""

from collections.abc import Hashable, Mapping
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
from torch import Tensor, fx, nn

# Modules that always do the same operations, whatever numbers their weights hold: torch's own and the toolkit's.
FIXED = ("torch.nn.modules.", "torchvision.models.", "torchvision.ops.", "dtfl_private.models.")
PLAIN = (bool, int, float, str, torch.dtype, torch.device, BuiltinFunctionType, type(None))
# What a module holds other modules and tensors in.
HELD = {"_parameters", "_buffers", "_modules"}
# What the stages have that torch.fx makes of a network: the graph, which is described, and what follows from it.
OF_GRAPHS = {"_graph", "_code", "_lineno_map", "_prologue_start"}


def structure_of(model: nn.Module) -> Hashable | None:
    """Return a value that is equal for networks that do the same operations; None where that cannot be told.

    It cannot of a module that is neither torch's nor the toolkit's, that has hooks, or an attribute that is no plain
    value.
    """
    parts = []
    for name, module in model.named_modules(remove_duplicate=False):
        kind: Any = type(module)
        held = HELD
        if isinstance(module, fx.GraphModule) and fx.GraphModule in type(module).__bases__:  # each has its own class
            kind, held = _graph(module), HELD | OF_GRAPHS
        elif not f"{type(module).__module__}.".startswith(FIXED):
            return None
        attributes = [(key, _plain(value)) for key, value in vars(module).items() if key not in held]
        attributes.append(("", kind))
        if any(value is UNKNOWN for _, value in attributes):
            return None
        tensors = (*module._parameters.items(), *module._buffers.items())
        parts.append((name, tuple(attributes), tuple((key, _described(t)) for key, t in tensors)))
    return tuple(parts)


UNKNOWN = object()
"""In place of what is no plain value."""


def _plain(value: object) -> Hashable:
    """Return a plain value, or `UNKNOWN`; functions that hold nothing are plain, as are empty mappings: no hooks."""
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, FunctionType):
        return value if value.__closure__ is None else UNKNOWN
    if isinstance(value, tuple | list):
        parts = tuple(map(_plain, value))
        return UNKNOWN if any(part is UNKNOWN for part in parts) else parts
    if isinstance(value, set | frozenset):
        return frozenset(value) if all(isinstance(one, str) for one in value) else UNKNOWN
    return None if isinstance(value, Mapping) and not value else UNKNOWN


def _graph(module: fx.GraphModule) -> Hashable:
    """Return what a module that torch.fx has made calls, on what; `UNKNOWN` where it calls what is not plain."""
    nodes = [(node.op, _plain(node.target), str(node.args), str(node.kwargs)) for node in module.graph.nodes]
    return UNKNOWN if any(target is UNKNOWN for _, target, _, _ in nodes) else tuple(nodes)


def _described(tensor: Tensor | None) -> Hashable:
    return None if tensor is None else (tuple(tensor.shape), tensor.dtype, tensor.requires_grad)
