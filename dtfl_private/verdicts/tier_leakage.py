"""What a release leaks in each tier, on one scale: from 0, no more than a trivial guess, to 1, the original itself.

Of a result it is the share of the way from the trivial guess to the original that the worst end of its 95 % interval
has gone; of a tier, the largest of all results with the metric that a leakage budget counts.
"""

import math
from collections.abc import Iterable

from dtfl_private.leakage.metrics import Metric
from dtfl_private.leakage.results.result import Result
from dtfl_private.verdicts.leakage_source import SCALED
from dtfl_private.verdicts.tiers_within_budget import counted

PARTS = 10**6  # of the scale: six digits


def tier_leakage(results: Iterable[Result], metric: str) -> dict[int, float]:
    """Return the leakage of each tier that was measured by this metric, 0 to 1, rounded up to six digits."""
    leakage: dict[int, float] = {}
    for result in counted(results, metric):
        leakage[result.tier] = max(leakage.get(result.tier, 0.0), _rounded_up(_share(result, SCALED[metric])))
    return dict(sorted(leakage.items()))


def _share(result: Result, metric: Metric) -> float:
    """Return which share of the way from the trivial guess to the original a result has gone.

    One without a trivial guess has gone all the way from the least that there can be.
    """
    least, most = metric.limits or (0.0, 1.0)
    end, nothing, original = result.ci_high, least, most
    if metric.exposing == "low":
        end, nothing, original = result.ci_low, most, least
    if result.baseline is not None:
        nothing = result.baseline
    if original == nothing:  # the trivial guess is the original
        return 0.0
    gone: float = (end - nothing) / (original - nothing)
    return min(max(gone, 0.0), 1.0)


def _rounded_up(share: float) -> float:
    return min(1.0, math.ceil(share * PARTS) / PARTS)
