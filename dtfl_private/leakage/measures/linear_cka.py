"""Linear centred kernel alignment of inputs and smashed data, debiased."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dtfl_private.leakage.measures.base import Figure, Measure, MeasureFacts, Release, require_records, with_interval
from dtfl_private.leakage.measures.dependence import dependence
from dtfl_private.randomness import torch_stream

LEAST_RECORDS = 100
ASKED_RECORDS = 500
MOST_RECORDS = 1000
PERMUTATIONS = 199


@dataclass(frozen=True, kw_only=True)
class LinearCka(Measure):
    """Say how alike images and smashed data are arranged, up to rotation and scale (Kornblith et al. 2019).

    With the unbiased estimate of HSIC, for there are fewer records than values, where the plain one is near 1 of
    independent data. Some code for split learning computes the plain one and calls it distance correlation. Of the
    first 1,000 records, in float64.

    Attributes:
        permutations: for the interval.
    """

    facts: ClassVar[MeasureFacts] = MeasureFacts(
        says="how alike the images and their smashed data lie to each other, seen linearly: 1 up to rotation and scale",
        does_not_say="that there is no dependence where it is 0, as it sees linear relations only; no guarantee",
        source="Kornblith et al. 2019 (1905.00414); Song et al. 2012; Nguyen, Raghu and Kornblith 2021 (2010.15327)",
    )

    permutations: int = PERMUTATIONS

    def figures(self, release: Release) -> Sequence[Figure]:
        """Return linear-cka."""
        require_records(release, LEAST_RECORDS, ASKED_RECORDS, "linear-cka")
        count = min(release.records, MOST_RECORDS)
        first, second = (inner_products(sample[:count]) for sample in (release.images, release.smashed))
        found = dependence(first, second, self.permutations, torch_stream(release.seed, "linear-cka"))
        return (with_interval("linear-cka", found.interval, count),)


@torch.no_grad()
def inner_products(sample: Tensor) -> Tensor:
    """Return the inner products (n, n) of the rows of a sample (n, ...), float64, zero on the diagonal.

    The mean is taken off first, which changes the statistic only by rounding.
    """
    rows = sample.detach().cpu().double().flatten(1)
    rows -= rows.mean(dim=0)
    return (rows @ rows.T).fill_diagonal_(0)
