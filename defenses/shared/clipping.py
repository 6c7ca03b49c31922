"""Clipping records to a norm, which is what bounds their influence. No defense of its own."""

from collections.abc import Sequence

import torch
from torch import Tensor

# A scaled record must not exceed the norm by rounding: it is scaled to a little less.
MARGIN = 1e-6


def clip_factors(norms: Tensor, clip: float) -> Tensor:
    """Return what to multiply records of these Euclidean norms by, so that none exceeds ``clip``; 1 if it does not."""
    return (clip * (1 - MARGIN) / norms).clamp(max=1.0)


def clipped_sum(gradients: Sequence[Tensor], clip: float) -> list[Tensor]:
    """Return the sum of the records' gradients, each scaled down to the norm ``clip`` over all parameters together.

    Args:
        gradients: (records, *shape) per parameter; any number of records.
        clip: bound on the Euclidean norm of what a record adds.
    """
    norms = torch.stack([torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients]).norm(dim=0)
    factors = clip_factors(norms, clip)
    return [torch.tensordot(factors, gradient, dims=1) for gradient in gradients]
