"""What a release leaks in each tier, on one scale: from 0, no more than a trivial guess, to 1, the original itself.

Of a result it is the share of the way from the trivial guess to the original that the worst end of its 95 % interval
has gone; of a tier, the largest of all results with the metric that a leakage budget counts.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dtfl_private.errors import InputError, comparable, shortened, unknown_name
from dtfl_private.leakage.metrics import METRICS, SSIM, Metric
from dtfl_private.leakage.results.result import Result
from dtfl_private.verdicts.tiers_within_budget import counted

SOURCE_FORM = "AUDIT.json[:metric=NAME]"
SCALED = {name: metric for name, metric in METRICS.items() if metric.limits is not None}
"""Metrics of which it is known what the original itself would score."""

PARTS = 10**6  # of the scale: six digits
MOST_TIERS = 1000
# The metric follows the last colon; what comes before is a path and may hold anything.
WITH_METRIC = re.compile(r"\s*metric\s*=([^:=,]*)")


@dataclass(frozen=True, kw_only=True)
class LeakageSource:
    """Where the leakage of tiers was measured.

    Attributes:
        audit: path of an audit.json.
        metric: by which leakage is measured, a key of `SCALED`.
    """

    audit: Path
    metric: str

    @classmethod
    def parse(cls, text: str) -> "LeakageSource":
        """Read ``AUDIT.json:metric=ssim``; the metric is ssim unless it is named.

        Raises:
            InputError: no path, or a metric that is not known or has no scale.
        """
        path, _, written = text.strip().rpartition(":")
        named = WITH_METRIC.fullmatch(written)
        if named is None or not path:
            path, name = text.strip(), SSIM.name
        else:
            path, name = path.strip(), named[1].strip()
        if not path:
            raise InputError(f"leakage_from '{shortened(text)}' is refused: expected {SOURCE_FORM}")
        spelled = {comparable(known): known for known in SCALED}
        if comparable(name) not in spelled:
            raise unknown_name("metric with a scale in leakage_from", name, SCALED)
        return cls(audit=Path(path), metric=spelled[comparable(name)])

    def __str__(self) -> str:
        return f"{self.audit}:metric={self.metric}"

    def absolute(self) -> "LeakageSource":
        """Return the same with the audit's whole path."""
        return replace(self, audit=self.audit.absolute())


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


def leakage_text(leakage: Mapping[int, float]) -> str:
    """Write the leakage of tiers as `parse_leakage` reads it."""
    return ",".join(f"{tier}={value:.15g}" for tier, value in sorted(leakage.items()))


def parse_leakage(text: str) -> dict[int, float]:
    """Read ``1=0.8,2=0.35``: the leakage of each tier, 0 to 1.

    Raises:
        InputError: another form, a tier that is named twice, or a value beyond these.
    """
    leakage: dict[int, float] = {}
    parts = text.split(",")
    for part in parts[: MOST_TIERS + 1]:
        tier, _, value = (side.strip() for side in part.partition("="))
        number = _number(value)
        if not (tier.isascii() and tier.isdecimal() and 0 < len(tier) < 10 and int(tier) > 0 and 0 <= number <= 1):
            raise InputError(
                f"tier_leakage '{shortened(text)}' is refused: expected TIER=LEAKAGE,... with a leakage from 0 to 1, "
                f"as 1=0.8,2=0.35, not '{shortened(part)}'"
            )
        if int(tier) in leakage:
            raise InputError(f"tier_leakage '{shortened(text)}' is refused: tier {int(tier)} is there twice")
        leakage[int(tier)] = number
    if len(parts) > MOST_TIERS:
        raise InputError(f"tier_leakage names {len(parts)} tiers: expected at most {MOST_TIERS}")
    return dict(sorted(leakage.items()))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
