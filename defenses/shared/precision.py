"""The precision in which defenses compute: messages may be bfloat16, sums and noise must not be."""

import torch
from torch import Tensor

from dtfl_private.protection.draws import normal


def working(tensor: Tensor) -> Tensor:
    """Return a tensor in float32, or in float64 if it is that."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def standard_normal(like: Tensor, chance: torch.Generator) -> Tensor:
    """Return standard normal values in the shape, type and place of ``like``."""
    # The stream is on the device of activations; weights leave a client on the CPU.
    return normal(like.shape, chance, like.dtype).to(like)
