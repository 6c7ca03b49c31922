"""Distance correlation of inputs and smashed data, bias-corrected, with a test of independence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from dtfl_private.leakage.dcor import distances
from dtfl_private.leakage.measures.base import (
    Figure,
    Measure,
    MeasureFacts,
    Release,
    exact,
    require_records,
    with_interval,
)
from dtfl_private.leakage.measures.dependence import dependence
from dtfl_private.randomness import torch_stream

# Fewer records cannot tell weak dependence from none.
LEAST_RECORDS = 100
ASKED_RECORDS = 500
# Distances are between all pairs: more records than these take long and change little.
MOST_RECORDS = 1000
PERMUTATIONS = 999


@dataclass(frozen=True, kw_only=True)
class DistanceCorrelation(Measure):
    """Test whether smashed data depend on the images, and say how strongly (Szekely, Rizzo and Bakirov 2007).

    The squared distance correlation without the bias that makes the plain one near 1 of independent data in high
    dimensions; of the first 1,000 records, in float64.

    Attributes:
        permutations: of the test; the p-value is 1 / (permutations + 1) at least.
    """

    facts: ClassVar[MeasureFacts] = MeasureFacts(
        says="whether smashed data depend on the images at all (p-value), and how strongly: 0 not at all, 1 as copies",
        does_not_say="how well images can be reconstructed: a lower value is not less leakage; no guarantee",
        source="Szekely, Rizzo and Bakirov 2007 (0803.4101); Szekely and Rizzo 2014 (1310.2926)",
    )

    permutations: int = PERMUTATIONS

    def figures(self, release: Release) -> Sequence[Figure]:
        """Return dcor-squared and dcor-p-value."""
        require_records(release, LEAST_RECORDS, ASKED_RECORDS, "distance-correlation")
        count = min(release.records, MOST_RECORDS)
        first, second = (_distances(sample[:count]) for sample in (release.images, release.smashed))
        chance = torch_stream(release.seed, "distance-correlation")
        found = dependence(first, second, self.permutations, chance)
        return (with_interval("dcor-squared", found.interval, count), exact("dcor-p-value", found.p_value, count))


def _distances(sample: Tensor) -> Tensor:
    return distances(sample.detach().cpu().double()).fill_diagonal_(0)
