"""Clipping records to a norm, which is what bounds their influence. No defense of its own."""

from collections.abc import Sequence

import torch
from torch import Tensor

# A scaled record must not exceed the norm by rounding: it is scaled to a little less.
MARGIN = 1e-6


def clip_factors(norms: Tensor, clip: float) -> Tensor:
    """Return what to multiply records of these Euclidean norms by, so that none exceeds ``clip``; 1 if it does not."""
    return (clip * (1 - MARGIN) / norms).clamp(max=1.0)


def clipped(records: Tensor, clip: float) -> Tensor:
    """Return records (B, ...), each scaled down to the norm ``clip``.

    One that is not finite becomes zeros: of weights that somebody has chosen, NaN would tell which records overflow.
    """
    norms = torch.linalg.vector_norm(records.flatten(1), dim=1)
    scaled = records * clip_factors(norms, clip).reshape(-1, *[1] * (records.ndim - 1))
    return torch.where(scaled.isfinite(), scaled, 0.0)


def clipped_sum(gradients: Sequence[Tensor], clip: float) -> list[Tensor]:
    """Return the sum of the records' gradients, each scaled down to the norm ``clip`` over all parameters together.

    A record whose gradient is not finite adds nothing, as in `clipped`.

    Args:
        gradients: (records, *shape) per parameter; any number of records.
        clip: bound on the Euclidean norm of what a record adds.
    """
    norms = torch.stack([torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients]).norm(dim=0)
    if not bool((finite := norms.isfinite()).all()):
        gradients, norms = [gradient[finite] for gradient in gradients], norms[finite]
    factors = clip_factors(norms, clip)
    return [torch.tensordot(factors, gradient, dims=1) for gradient in gradients]
