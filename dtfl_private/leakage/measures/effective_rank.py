"""Effective rank of the smashed data, and their size relative to the images'."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dtfl_private.leakage.measures.base import Figure, Measure, MeasureFacts, Release, exact


@dataclass(frozen=True, kw_only=True)
class EffectiveRank(Measure):
    """Count the directions that smashed data spread over, and their values (Roy and Vetterli 2007).

    Of the records at hand: it is n - 1 at most and grows with n, so compare only at equal n. No interval.
    """

    facts: ClassVar[MeasureFacts] = MeasureFacts(
        says="over how many directions smashed data spread, and how many values are sent for each value of an image",
        does_not_say="what is in these directions: noise raises it, and few directions can be enough for an image",
        source="Roy and Vetterli 2007 (EUSIPCO, The effective rank)",
    )

    def figures(self, release: Release) -> Sequence[Figure]:
        """Return effective-rank and values-per-pixel."""
        rank = effective_rank(release.smashed)
        ratio = release.smashed[0].numel() / release.input_values
        return (exact("effective-rank", rank, release.records), exact("values-per-pixel", ratio, release.records))


@torch.no_grad()
def effective_rank(sample: Tensor) -> float:
    """Return exp of the entropy of the singular values of a centred sample (n, ...), as shares of their sum.

    1 of a sample along one direction, r of one that spreads evenly over r directions; 0 of a constant one.
    """
    rows = sample.detach().cpu().double().flatten(1)
    rows -= rows.mean(dim=0)
    gram = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
    squares = torch.linalg.eigvalsh(gram).clamp(min=0)
    # Rounding leaves small eigenvalues where there are none, and a root makes them large.
    squares = squares[squares > len(gram) * torch.finfo(gram.dtype).eps * squares.max()]
    if not len(squares):
        return 0.0
    shares = squares.sqrt() / squares.sqrt().sum()
    return math.exp(float(torch.special.entr(shares).sum()))
