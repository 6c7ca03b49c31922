"""Leakage budgets: which tiers a scheduler may name, from what an audit measured at each of them.

A tier's leakage is the worst end of the 95 % intervals of all attacks and measures on one metric: the upper end where
high values expose, the lower one where low values do. A tier is within the budget if that end is; a tier without a
result is not measured, and a tier that is not measured is not allowed. Nothing is assumed of tiers in between: leakage
need not fall with depth.

Not counted are trivial guesses, and attacks that need a server which sends weights or names tiers of its own choice: no
budget binds such a server.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from pathlib import Path

from dtfl_private.errors import InputError, comparable, unknown_name
from dtfl_private.leakage.baselines import BASELINES
from dtfl_private.leakage.findings import Findings
from dtfl_private.leakage.metrics import METRICS, SSIM, Metric
from dtfl_private.leakage.result import Result
from dtfl_private.protocol.threat import ADVERSARIES, Capability

FORM = "AUDIT.json:metric=NAME,max=X (min=X for metrics whose low values expose)"

# The settings follow the last colon; what comes before is a path and may hold anything.
SETTINGS = re.compile(r"[^:=,]+=[^:,]*(?:,[^:=,]+=[^:,]*)*")

UNBOUND: frozenset[Capability] = frozenset({"chooses-weights", "chooses-tier"})
"""With one of these a server does what it likes, whatever tiers it was allowed."""


@dataclass(frozen=True, kw_only=True)
class LeakageBudget:
    """How much may leak at a tier, and where it was measured.

    Attributes:
        audit: path of an audit.json.
        metric: by which leakage is measured, a key of `METRICS`.
        limit: the most that is allowed; the least, where low values expose.
    """

    audit: Path
    metric: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> "LeakageBudget":
        """Read ``AUDIT.json:metric=ssim,max=0.4``; the metric is ssim unless it is named.

        Raises:
            InputError: another form, an unknown key or metric, no limit, or the wrong kind of limit.
        """
        path, _, written = text.strip().rpartition(":")
        path = path.rstrip()
        if not path or SETTINGS.fullmatch(written) is None:
            raise InputError(f"leakage budget '{text}' is refused: expected {FORM}")
        settings = _settings(text, written)
        metric = _metric(text, settings.pop("metric", SSIM.name))
        key = _limit_key(metric)
        if key not in settings:
            wrong = f", not {next(iter(settings))}=" if settings else ""
            raise InputError(
                f"leakage budget '{text}' is refused: {metric.exposing} values of {metric.name} expose, so give "
                f"{key}=X{wrong}"
            )
        if len(settings) > 1:
            raise InputError(f"leakage budget '{text}' is refused: give {key}= alone, {metric.name} has one limit")
        return cls(audit=Path(path), metric=metric.name, limit=_number(text, key, settings[key]))

    def __str__(self) -> str:
        return f"{self.audit}:metric={self.metric},{_limit_key(METRICS[self.metric])}={self.limit:.15g}"

    def absolute(self) -> "LeakageBudget":
        """Return the same with the audit's whole path."""
        return replace(self, audit=self.audit.absolute())

    @property
    def rule(self) -> str:
        """What is asked of a tier, in words."""
        bound = "at most" if METRICS[self.metric].exposing == "high" else "at least"
        return f"{self.metric} {bound} {self.limit:.15g}"

    def holds(self, leakage: float) -> bool:
        """Whether a tier of this measured leakage is allowed."""
        return leakage <= self.limit if METRICS[self.metric].exposing == "high" else leakage >= self.limit

    def allowed(self, findings: Findings, in_use: Sequence[int]) -> tuple[int, ...]:
        """Return the tiers out of those ``in_use`` that are within the budget, ascending.

        Raises:
            InputError: the audit is invalid, measured none of the tiers, or none is within the budget; then the
                nearest budget that allows one is named.
        """
        require_valid(findings, self.audit)
        leakage = {tier: end for tier, end in measured(findings.judged, self.metric).items() if tier in in_use}
        if not leakage:
            raise InputError(
                f"audit {self.audit} has no {self.metric} of an attack that a leakage budget can count at "
                f"{_tiers(in_use)}: audit them, or choose another metric"
            )
        allowed = tuple(sorted(tier for tier, end in leakage.items() if self.holds(end)))
        if not allowed:
            raise InputError(self._infeasible(leakage, in_use))
        return allowed

    def _infeasible(self, leakage: Mapping[int, float], in_use: Sequence[int]) -> str:
        metric = METRICS[self.metric]
        least = min if metric.exposing == "high" else max
        tier = least(sorted(leakage), key=lambda measured_tier: leakage[measured_tier])
        feasible = feasible_limit(metric, leakage[tier])
        missing = [other for other in in_use if other not in leakage]
        unmeasured = f"; {_tiers(missing)} not measured" if missing else ""
        return (
            f"leakage budget: none of {_tiers(in_use)} is within {self.rule} (worst end of the intervals in "
            f"{self.audit}{unmeasured}); the least leaky is tier {tier} with {feasible}: "
            f"{_limit_key(metric)}={feasible} is feasible"
        )


def measured(results: Iterable[Result], metric: str) -> dict[int, float]:
    """Return each measured tier's leakage: the worst end of the intervals of all results that count."""
    high = METRICS[metric].exposing == "high"
    leakage: dict[int, float] = {}
    for result in counted(results, metric):
        end = result.ci_high if high else result.ci_low
        known = leakage.get(result.tier, end)
        leakage[result.tier] = max(known, end) if high else min(known, end)
    return leakage


def counted(results: Iterable[Result], metric: str) -> list[Result]:
    """Return the results of a metric that a budget counts: no trivial guesses, no servers that obey no budget."""
    return [
        result
        for result in results
        if result.metric == metric and result.source not in BASELINES and not _unbound(result.adversary)
    ]


def _unbound(adversary: str | None) -> bool:
    known = ADVERSARIES.get(adversary or "")
    return known is not None and bool(known.has & UNBOUND)


def feasible_limit(metric: Metric, leakage: float) -> str:
    """Return a limit that a tier of this leakage is just within, in the metric's digits: rounded outwards."""
    outwards = ROUND_CEILING if metric.exposing == "high" else ROUND_FLOOR
    # Wide enough for every float: an audit may come from anybody.
    return str(Decimal(repr(leakage)).quantize(Decimal(1).scaleb(-metric.digits), outwards, Context(prec=400)))


def require_valid(findings: Findings, audit: Path) -> None:
    """Return if all sanity checks of an audit passed.

    Raises:
        InputError: one did not: then low leakage may be the attacks' fault.
    """
    if not findings.valid:
        failed = ", ".join(check.name for check in findings.sanity if not check.passed)
        raise InputError(
            f"audit {audit} is invalid (sanity check not passed: {failed or 'unnamed'}): low leakage in it proves "
            "nothing; repeat it with stronger attacks"
        )


def _settings(text: str, written: str) -> dict[str, str]:
    settings: dict[str, str] = {}
    for item in written.split(","):
        key, _, value = (part.strip() for part in item.partition("="))
        if key not in ("metric", "max", "min"):
            raise unknown_name("setting of the leakage budget", key, ("metric", "max", "min"))
        if not value or key in settings:
            raise InputError(f"leakage budget '{text}' is refused: expected {FORM}, each key once")
        settings[key] = value
    return settings


def _metric(text: str, name: str) -> Metric:
    spelled = {comparable(known): metric for known, metric in METRICS.items()}
    if comparable(name) not in spelled:
        raise unknown_name(f"metric in leakage budget '{text}'", name, METRICS)
    return spelled[comparable(name)]


def _limit_key(metric: Metric) -> str:
    return "max" if metric.exposing == "high" else "min"


def _number(text: str, key: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"leakage budget '{text}' is refused: {key}={value} is no number")
    return number


def _tiers(tiers: Sequence[int]) -> str:
    return f"tier{'' if len(tiers) == 1 else 's'} {', '.join(map(str, tiers))}"
