"""Multiply-accumulates (MACs) of convolutions and matrix products, counted as torch runs them.

By the formulas of torch's own flop counter (one MAC is two of its flops), which also keeps a table by module and asks
every operator anew whether it consists of others: that takes longer than a small network itself.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten

# Operators that consist of no others, as far as it has been asked.
_SIMPLE: set[Any] = set()


class MacCounter(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch does not annotate its modes
    """Counts the MACs of what torch runs inside it.

    Attributes:
        macs: counted since it was made.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch does not annotate its modes
        self.macs = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Say that nothing need be hidden from torch's compiler, which torch would load to hide it from: seconds."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        packet = func._overloadpacket
        if packet in flop_registry or func in _SIMPLE:
            result = func(*args, **kwargs)
            self.macs += operator_macs(packet, args, kwargs, result)
            return result
        with self:  # in inference mode operators come here that consist of others
            result = func.decompose(*args, **kwargs)
        if result is not NotImplemented:
            return result
        _SIMPLE.add(func)
        return func(*args, **kwargs)


def operator_macs(packet: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> int:
    """Return the MACs of an operator that has run: 0 of one that computes no products."""
    if packet is aten.convolution_backward:
        shapes: list[Any] = [one.shape if isinstance(one, Tensor) else one for one in args]
        return convolution_backward(*shapes, **kwargs) // 2
    formula = flop_registry.get(packet)
    return 0 if formula is None else int(formula(*args, **kwargs, out_val=result)) // 2


def convolution_backward(
    gradient_shape: Sequence[int],
    inputs_shape: Sequence[int],
    weight_shape: Sequence[int],
    _bias: object,
    _stride: object,
    _padding: object,
    _dilation: object,
    transposed: bool,
    _output_padding: object,
    _groups: object,
    wanted: Sequence[bool],
    **_: object,
) -> int:
    """Return the flops of a convolution's gradients: each, to inputs and to weights, takes as many as the forward pass.

    torch's own formula leaves groups out of the gradient to the weights, and so counts a depthwise convolution of C
    channels C times.
    """
    places = (inputs_shape if transposed else gradient_shape)[2:]
    forward = 2 * gradient_shape[0] * math.prod(places) * math.prod(weight_shape)
    return forward * sum(wanted[:2])
