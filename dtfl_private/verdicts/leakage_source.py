"""Where it is said what a release leaks in each tier: an audit, or figures of the user's own."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dtfl_private.errors import InputError, comparable, shortened, unknown_name
from dtfl_private.leakage.metrics import METRICS, SSIM

SOURCE_FORM = "AUDIT.json[:metric=NAME]"
SCALED = {name: metric for name, metric in METRICS.items() if metric.limits is not None}
"""Metrics of which it is known what the original itself would score."""

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
