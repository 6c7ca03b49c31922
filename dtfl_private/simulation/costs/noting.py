"""The operators of a training step, noted as torch runs them: their arithmetic and the bytes that they move.

A stage is run forward and backward on batches of two sizes, and every operator that torch dispatches is noted: views
cost nothing, all others are counted with their multiply-accumulates, and with the bytes of all tensors that go in and
come out, once each. What grows with the batch (activations and their gradients) is told from what does not (weights and
their gradients) by the two sizes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dtfl_private.errors import InputError
from dtfl_private.models.mac_counter import operator_macs
from dtfl_private.simulation.clients.engines import EnginePrecision, OperatorClass
from dtfl_private.simulation.costs.operators import CLASSES, PRECISIONS, Operators

aten = torch.ops.aten

# Classes of operators that compute products; those of convolutions depend on their weights, too.
PRODUCTS: dict[Any, OperatorClass] = {
    aten.mm: "linear",
    aten.addmm: "linear",
    aten.bmm: "attention",
    aten.baddbmm: "attention",
    aten.convolution: "conv",
    aten.convolution_backward: "conv",
}
# Classes of other operators, by what their names hold; all others are elementwise.
BY_NAME: dict[OperatorClass, tuple[str, ...]] = {
    "normalisation": ("norm",),
    "random": ("bernoulli", "dropout", "uniform", "normal_", "rand"),
    "copy": ("clone", "copy", "cat"),
    "transcendental": ("gelu", "silu", "softmax", "sigmoid", "tanh", "exp", "log", "erf", "sqrt", "pow"),
}
# Views that torch's schemas do not call so, and what only sets memory aside.
FREE = frozenset(
    {aten._unsafe_view, aten.detach, aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty, aten.lift_fresh}
)
# Of a table they read the rows that are looked up.
LOOKUPS = frozenset({aten.embedding})
DTYPES: dict[torch.dtype, EnginePrecision] = {
    torch.float64: "fp64",
    torch.float32: "fp32",
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
}


@dataclass(frozen=True, kw_only=True)
class Noted:
    """One operator as it ran once: class, precision, multiply-accumulates, bytes."""

    kind: OperatorClass
    precision: EnginePrecision
    macs: int
    moved_bytes: int


@dataclass
class _Notes(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch does not annotate its modes
    """Notes what is dispatched inside it."""

    noted: list[Noted] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch does not annotate its modes

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not _is_free(func):
            self.noted.append(_noted(func, args, kwargs or {}, result))
        return result


def _is_free(func: Any) -> bool:
    """Whether an operator computes nothing: it returns views of what it is given, or memory without contents."""
    if func._overloadpacket in FREE:
        return True
    returns = func._schema.returns
    return bool(returns) and all(one.alias_info is not None and not one.alias_info.is_write for one in returns)


def _noted(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Noted:
    packet = func._overloadpacket
    given, made = _tensors((args, kwargs)), _tensors(result)
    kind = _kind(packet, args)
    moved = 2 * sum(map(_bytes, made)) if packet in LOOKUPS else sum(map(_bytes, [*given, *made]))
    return Noted(
        kind=kind,
        precision=_precision([*made, *given]),
        macs=operator_macs(packet, args, kwargs, result) if packet in PRODUCTS else 0,
        moved_bytes=moved,
    )


def _kind(packet: Any, args: tuple[Any, ...]) -> OperatorClass:
    kind = PRODUCTS.get(packet)
    if kind is None:
        name = str(packet).rpartition(".")[2]
        found = (kind for kind, words in BY_NAME.items() if any(word in name for word in words))
        return next(found, "elementwise")
    if kind != "conv":
        return kind
    weight = args[2] if packet is aten.convolution_backward else args[1]
    if weight.shape[1] == 1 and weight.shape[0] > 1:
        return "depthwise-conv"
    return "pointwise-conv" if math.prod(weight.shape[2:]) == 1 else "conv"


def _precision(tensors: Sequence[Tensor]) -> EnginePrecision:
    """Return what is computed in: the type of the first floating-point number; integers go with single precision."""
    return next((DTYPES[one.dtype] for one in tensors if one.dtype in DTYPES), "fp32")


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [one for part in value for one in _tensors(part)] if isinstance(value, list | tuple) else []


def _bytes(tensor: Tensor) -> int:
    """Return the bytes of a tensor; what is repeated by a stride of 0 is read once."""
    stored = math.prod(size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride or size == 0)
    return stored * tensor.element_size()


def noted_by(run: Callable[[], None]) -> list[Noted]:
    """Return the operators that a function runs."""
    notes = _Notes()
    with notes:
        run()
    return notes.noted


SMALL, LARGE = 2, 4
"""Images of the two batches: batch norm refuses a single value."""


def per_image(small: Sequence[Noted], large: Sequence[Noted], what: str) -> Operators:
    """Return operators as they grow with the batch, from one run with `SMALL` images and one with `LARGE`.

    Raises:
        InputError: the runs differ in their operators; ``what`` names them.
    """
    if [(one.kind, one.precision) for one in small] != [(one.kind, one.precision) for one in large]:
        raise InputError(f"{what} runs other operators on {SMALL} inputs than on {LARGE}: its times cannot be modelled")
    more = LARGE - SMALL
    moved_small = np.array([one.moved_bytes for one in small], dtype=np.float64)
    moved_large = np.array([one.moved_bytes for one in large], dtype=np.float64)
    macs = np.array([after.macs - before.macs for before, after in zip(small, large, strict=True)], dtype=np.float64)
    image_bytes = (moved_large - moved_small) / more
    return Operators(
        kind_O=np.array([CLASSES.index(one.kind) for one in small], dtype=np.int64),
        precision_O=np.array([PRECISIONS.index(one.precision) for one in small], dtype=np.int64),
        image_macs_O=macs / more,
        image_bytes_O=image_bytes,
        step_bytes_O=moved_small - SMALL * image_bytes,
        launches_O=np.ones(len(small)),
    )
