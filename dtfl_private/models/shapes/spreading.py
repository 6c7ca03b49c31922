"""Where values of tensors that are spread to a common shape come to lie in memory, as torch has it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

META = torch.device("meta")

UNCHANGED = {torch.float32, torch.float64}
"""Types in which torch computes what it is given in them."""


def made(shape: Sequence[int], dtype: torch.dtype, order: Sequence[int] | None = None) -> Tensor:
    """Return a tensor whose dimensions lie in this order in memory, by default in their own."""
    if order is None:
        return torch.empty(shape, dtype=dtype, device=META)
    return torch.empty_permuted(shape, list(order), dtype=dtype, device=META)


def order_of(*tensors: Tensor) -> Sequence[int]:
    """Return the order in memory of the result of an operator on the values of tensors of one shape, as torch has it.

    Of two dimensions the outer one is that of greater stride in the first tensor that tells; dimensions over which
    tensors were spread have strides of zero, and tell nothing.
    """
    if all(one.is_contiguous() for one in tensors):
        return list(range(tensors[0].ndim))
    found = list(reversed(range(tensors[0].ndim)))  # from the innermost on
    for new in range(1, len(found)):
        place = new
        for inner in reversed(range(new)):
            told = _further_out(tensors, found[inner], found[place])
            if told is False:
                break
            if told:
                found[inner], found[place] = found[place], found[inner]
                place = inner
    return list(reversed(found))


def _further_out(tensors: Sequence[Tensor], one: int, other: int) -> bool | None:
    """Return whether one dimension lies outside another one; None if no tensor tells."""
    for tensor in tensors:
        strides = tensor.stride(one), tensor.stride(other)
        if 0 in strides:
            continue
        if strides[0] != strides[1]:
            return strides[0] > strides[1]
        if tensor.shape[one] > tensor.shape[other]:
            return True
    return None


def spread(*tensors: Tensor, dtype: torch.dtype) -> Any:
    """Return the result of an operator on the values of tensors that are spread to a common shape."""
    try:
        shape = np.broadcast_shapes(*(one.shape for one in tensors))
    except ValueError:
        return NotImplemented
    if all(one.is_contiguous() for one in tensors):
        return made(shape, dtype)
    # torch brings operands to one type first, in which those that are spread or have gaps come to lie otherwise.
    as_they_are = dtype in UNCHANGED and all(one.dtype == dtype for one in tensors)
    if len(tensors) > 1 and not as_they_are and not all(_is_dense(one) for one in tensors):
        return NotImplemented
    return made(shape, dtype, order_of(*(one.expand(shape) for one in tensors)))


def _is_dense(one: Tensor) -> bool:
    """Return whether a tensor's values lie side by side, each at a place of its own."""
    values = 1
    for stride, size in sorted(zip(one.stride(), one.shape, strict=True)):
        if size > 1 and stride != values:
            return False
        values *= size
    return True
