"""Leakage budgets: which tiers a scheduler may name, from what an audit measured at each of them.

A tier's leakage is the worst end of the 95 % intervals of all attacks and measures on one metric: the upper end where
high values expose, the lower one where low values do. A tier is within the budget if that end is; a tier without a
result is not measured, and a tier that is not measured is not allowed. Nothing is assumed of tiers in between: leakage
need not fall with depth.

Not counted are trivial guesses, and attacks that need a server which sends weights or names tiers of its own choice: no
budget binds such a server.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from pathlib import Path

from dtfl_private.errors import InputError
from dtfl_private.leakage.baselines import GUESSES
from dtfl_private.leakage.metrics import METRICS, Metric
from dtfl_private.leakage.results.result import Result
from dtfl_private.protocol.adversaries import ADVERSARIES, Capability
from dtfl_private.verdicts.findings import Findings
from dtfl_private.verdicts.leakage_budget import LeakageBudget, limit_key

UNBOUND: frozenset[Capability] = frozenset({"chooses-weights", "chooses-tier", "chooses-replies"})
"""With one of these a server does what it likes, whatever tiers it was allowed."""


def tiers_within(budget: LeakageBudget, findings: Findings, in_use: Sequence[int]) -> tuple[int, ...]:
    """Return the tiers out of those ``in_use`` that are within a budget, ascending.

    Raises:
        InputError: the audit is invalid, measured none of the tiers, or none is within the budget; then the
            nearest budget that allows one is named.
    """
    require_valid(findings, budget.audit)
    leakage = {tier: end for tier, end in measured(findings.judged, budget.metric).items() if tier in in_use}
    if not leakage:
        raise InputError(
            f"audit {budget.audit} has no {budget.metric} of an attack that a leakage budget can count at "
            f"{_tiers(in_use)}: audit them, or choose another metric"
        )
    allowed = tuple(sorted(tier for tier, end in leakage.items() if budget.holds(end)))
    if not allowed:
        raise InputError(_infeasible(budget, leakage, in_use))
    return allowed


def _infeasible(budget: LeakageBudget, leakage: Mapping[int, float], in_use: Sequence[int]) -> str:
    metric = METRICS[budget.metric]
    least = min if metric.exposing == "high" else max
    tier = least(sorted(leakage), key=lambda measured_tier: leakage[measured_tier])
    feasible = feasible_limit(metric, leakage[tier])
    missing = [other for other in in_use if other not in leakage]
    unmeasured = f"; {_tiers(missing)} not measured" if missing else ""
    return (
        f"leakage budget: none of {_tiers(in_use)} is within {budget.rule} (worst end of the intervals in "
        f"{budget.audit}{unmeasured}); the least leaky is tier {tier} with {feasible}: "
        f"{limit_key(metric)}={feasible} is feasible"
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
        if result.metric == metric and result.source not in GUESSES and not _unbound(result.adversary)
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


def _tiers(tiers: Sequence[int]) -> str:
    return f"tier{'' if len(tiers) == 1 else 's'} {', '.join(map(str, tiers))}"
