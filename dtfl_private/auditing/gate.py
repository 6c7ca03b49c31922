"""Gates (``--fail-if``): limits on measured leakage that make an audit fail, for continuous integration.

    ssim>0.5            no attack may reach an SSIM above 0.5 at any tier
    ssim>0.5@tier<=2    ... at tiers 1 and 2
    mse<0.01            no attack may come closer than an MSE of 0.01

A gate errs on the safe side: it is crossed as soon as some value within a result's 95 % interval would cross it, the
upper end for > and >=, the lower one for < and <=. An audit too small to tell cannot pass, and more victims narrow its
intervals. Trivial guesses never cross: what they reach needs no smashed data. Results of attacks and measures do.
"""

import math
import operator
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from dtfl_private.errors import GateCrossedError, InputError, comparable, unknown_name
from dtfl_private.leakage.baselines import GUESSES
from dtfl_private.leakage.metrics import METRICS, find_metric
from dtfl_private.leakage.results.result import Result
from dtfl_private.verdicts.findings import Findings

COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
TIER_COMPARISONS: Mapping[str, Callable[[int, int], bool]] = {**COMPARISONS, "==": operator.eq, "=": operator.eq}

FORM = "METRIC>NUMBER, with >, >=, < or <=, as in ssim>0.5, and for some tiers only @tier<=2 after it"

GATE = re.compile(
    r"\s*(?P<metric>[A-Za-z][\w.-]*)\s*(?P<comparison>[<>]=?)\s*(?P<limit>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"\s*(?:@\s*tier\s*(?P<tier_comparison>[<>]=?|==?)\s*(?P<tier>\d{1,9})\s*)?",
    re.ASCII,
)


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A limit on one metric, at all tiers or at some.

    Attributes:
        metric: name in results.
        comparison: key of `COMPARISONS`; a value that compares so with ``limit`` crosses.
        limit: in the metric's unit.
        tier_comparison: key of `TIER_COMPARISONS`; None for all tiers.
        tier: what tiers are compared with; unused without ``tier_comparison``.
    """

    metric: str
    comparison: str
    limit: float
    tier_comparison: str | None = None
    tier: int = 0

    def __str__(self) -> str:
        where = "" if self.tier_comparison is None else f"@tier{self.tier_comparison}{self.tier}"
        return f"{self.metric}{self.comparison}{self.limit:.15g}{where}"

    def judges(self, result: Result) -> bool:
        """Whether the gate judges a result: its metric and tier match, and it is no trivial guess."""
        return result.metric == self.metric and self.covers(result.tier) and result.source not in GUESSES

    def covers(self, tier: int) -> bool:
        """Whether the gate is about a tier."""
        return self.tier_comparison is None or TIER_COMPARISONS[self.tier_comparison](tier, self.tier)

    def crossed_by(self, results: Iterable[Result]) -> list[Result]:
        """Return the results that cross, in their order: those whose interval reaches beyond the limit.

        Raises:
            InputError: there is no result to judge by.
        """
        judged = [result for result in results if self.judges(result)]
        if not judged:
            raise InputError(
                f"gate {self} has nothing to judge by: no attack or measure has a result with this metric"
                + ("" if self.tier_comparison is None else " at such a tier")
            )
        return [result for result in judged if self._beyond(self._end(result))]

    def line(self, result: Result) -> str:
        """Return the sentence about a result that crosses."""
        digits = find_metric(self.metric).digits
        value, low, high = (f"{figure:.{digits}f}" for figure in (result.value, result.ci_low, result.ci_high))
        only = "" if self._beyond(result.value) else ": not the value, but its interval reaches beyond"
        where = f"tier {result.tier}{', as scheduled' if result.settings.get('as_scheduled') else ''}"
        return f"gate {self} crossed: {where}, {result.source}: {self.metric} {value} ({low} to {high}){only}"

    def _beyond(self, value: float) -> bool:
        return COMPARISONS[self.comparison](value, self.limit)

    def _end(self, result: Result) -> float:
        """Return the end of the interval that crosses first."""
        return result.ci_high if self.comparison.startswith(">") else result.ci_low


def parse_gate(text: str, known: Collection[str] = tuple(METRICS)) -> Gate:
    """Return the gate that a user wrote: METRIC COMPARISON NUMBER, and perhaps @tier COMPARISON NUMBER.

    Args:
        text: of the user; spaces do not matter, nor hyphens, underscores and capitals of the metric.
        known: names of the metrics that results can have.

    Raises:
        InputError: the text is of another form, or the metric is unknown; the nearest is named.
    """
    match = GATE.fullmatch(text)
    if match is None:
        # The shell keeps what follows an unquoted > for itself.
        quote = "" if set(text) & set("<>") else "; put it in quotes, for the shell takes > as a redirection"
        raise InputError(f"gate '{text}' is refused: expected {FORM}{quote}")
    spelled = {comparable(name): name for name in known}
    if comparable(match["metric"]) not in spelled:
        raise unknown_name(f"metric in gate '{text}'", match["metric"], known)
    limit = float(match["limit"])
    if not math.isfinite(limit):
        raise InputError(f"gate '{text}' is refused: {match['limit']} is beyond all numbers")
    return Gate(
        metric=spelled[comparable(match["metric"])],
        comparison=match["comparison"],
        limit=limit,
        tier_comparison=match["tier_comparison"],
        tier=int(match["tier"] or 0),
    )


def _unmeasured(gate: Gate, findings: Findings) -> list[int]:
    """Return the tiers of the run that a gate is about and that have no result for it: it must not pass there."""
    measured = {result.tier for result in findings.judged if gate.judges(result)}
    return [tier for tier in findings.training.tiers if gate.covers(tier) and tier not in measured]


def require_gates(gates: Sequence[Gate], findings: Findings) -> None:
    """Return if all gates hold. An invalid audit lets none hold: attacks that fail where none may fail prove nothing.

    A crossed gate is reported before one that cannot be judged, and with it.

    Raises:
        GateCrossedError: a line for each result that crosses.
        InputError: no gate is crossed, but one has no result to judge by.
    """
    if gates and not findings.valid:
        failed = ", ".join(check.name for check in findings.sanity if not check.passed)
        why = f"the audit is invalid (sanity check not passed: {failed or 'unnamed'}), so that it proves nothing"
        raise GateCrossedError(f"gate {gate} crossed: {why}" for gate in gates)
    crossed, unjudged = [], []
    for gate in gates:
        try:
            crossed += [gate.line(result) for result in gate.crossed_by(findings.judged)]
            unjudged += [f"gate {gate} has nothing to judge by at tier {tier}" for tier in _unmeasured(gate, findings)]
        except InputError as error:
            unjudged.append(str(error))
    if crossed:
        raise GateCrossedError([*crossed, *unjudged])
    if unjudged:
        raise InputError("; ".join(unjudged))
