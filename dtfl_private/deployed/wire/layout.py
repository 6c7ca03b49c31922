"""In what order a tensor's axes lie in memory: sums over them round differently in another order."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dtfl_private.deployed.wire.errors import WireError


def order_of(tensor: Tensor) -> list[int]:
    """Return the axes from the slowest to the fastest in memory; in their own order if memory holds more than them."""
    strides = tensor.stride()
    # Of axes with equal strides those of size 1 lie inside.
    order = sorted(range(tensor.ndim), key=lambda axis: (-strides[axis], tensor.shape[axis] == 1, axis))
    dense = torch.empty_permuted(tensor.shape, order, device="meta")
    return order if dense.stride() == tensor.stride() else list(range(tensor.ndim))


def in_order(tensor: Tensor, order: Sequence[int]) -> Tensor:
    """Return a contiguous tensor with its axes in this order in memory.

    Raises:
        WireError: it is no order of its axes.
    """
    if sorted(order) != list(range(tensor.ndim)):
        raise WireError(f"activations: {list(order)} is no order of {tensor.ndim} axes")
    if list(order) == list(range(tensor.ndim)):
        return tensor
    return torch.empty_permuted(tensor.shape, list(order), dtype=tensor.dtype).copy_(tensor)
