"""What a trial measured, as a line of trials.jsonl, and how it stands against limits and the baseline."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from dtfl_private.choosing.limits import Limit
from dtfl_private.leakage.results.result import Finite, Name, Positive
from dtfl_private.verdicts.strict import Strict

Text = Annotated[str, Field(max_length=4000)]
Seconds = Annotated[Finite, Field(ge=0)]
Value = bool | int | Finite | Annotated[str, Field(max_length=1000)]

Outcome = Literal["done", "refused", "diverged"]

NOTHING = "nothing"
"""The source of a leak at a tier where no attack or measure could say anything."""

NO_TIER = "no such tier"
"""The source of a leak by a limit that is about none of the tiers that clients may be in: it holds."""


class Leak(Strict):
    """The worst that a limit met at one tier.

    Attributes:
        limit: as written.
        tier: client modules m; None of a guarantee, which holds for all.
        source: attack or measure; "guarantee", `NOTHING` where there was nothing to judge by, or `NO_TIER`.
        value: None where nothing is guaranteed, or nothing was measured: without bound.
        end: that end of the 95 % interval which exposes more.
        other_end: the other.
        n: records judged.
    """

    limit: Annotated[str, Field(max_length=200)]
    tier: Positive | None
    source: Name
    value: Finite | None
    end: Finite | None
    other_end: Finite | None
    n: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _whole(self) -> "Leak":
        known = [end for end in (self.value, self.end, self.other_end) if end is not None]
        if known and (len(known) < 3 or not min(known[1:]) <= known[0] <= max(known[1:])):
            raise ValueError("the value must lie within its interval, all three known or none")
        return self


class Measured(Strict):
    """What one trial reached on one rung.

    Attributes:
        trial: number, from 0; that of the untouched configuration is 0.
        rung: from 0.
        point: of the space; empty for a configuration that is no point of it.
        outcome: "refused" if the parts do not go together, "diverged" if its loss was no number.
        why: it was refused or diverged.
        accuracy: after the last round, on the images that trials are judged by; None if it was not trained.
        images: that it was judged by.
        time_s: simulated seconds to the end of the training, or to the target accuracy if the run has one; None where
            that was not reached.
        leaks: the worst for each limit and tier.
        inactive: defenses that change nothing of what leaves a client.
        wall_s: seconds that it really took; nothing is decided by it.
    """

    trial: Annotated[int, Field(ge=0, le=100_000)]
    rung: Annotated[int, Field(ge=0, le=10)]
    point: Annotated[dict[Name, Value], Field(max_length=500)]
    outcome: Outcome
    why: Text | None = None
    accuracy: Annotated[Finite, Field(ge=0, le=1)] | None = None
    images: Annotated[int, Field(ge=0)] = 0
    time_s: Seconds | None = None
    leaks: Annotated[tuple[Leak, ...], Field(max_length=10_000, strict=False)] = ()
    inactive: Annotated[tuple[Name, ...], Field(max_length=100, strict=False)] = ()
    wall_s: Seconds = 0.0

    @property
    def ran(self) -> bool:
        """Whether it was trained and attacked."""
        return self.outcome == "done"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What is asked of a configuration.

    Attributes:
        limits: on leakage.
        max_accuracy_loss: that it may lose to the untouched configuration, 0..1.
        max_time_ratio: of simulated times, to the untouched configuration's.
    """

    limits: Sequence[Limit]
    max_accuracy_loss: float = 0.02
    max_time_ratio: float = 1.5


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a trial stands against the untouched configuration on the same rung, and against the rules.

    Attributes:
        measured: of the trial.
        accuracy_loss: to the untouched configuration; None if it was not trained.
        time_ratio: to the untouched configuration; None where it did not reach the target.
        worst: the worst of all tiers for each limit, in the order of the limits.
        excesses: by how much each rule is broken, in parts of the rule: limits first, accuracy, time; 0 where it holds.
        by_value: the same by the values of limits, not the ends of their intervals.
    """

    measured: Measured
    accuracy_loss: float | None
    time_ratio: float | None
    worst: Sequence[Leak]
    excesses: Sequence[float]
    by_value: Sequence[float]

    @property
    def violation(self) -> float:
        """By how much rules are broken in all; 0 where all hold."""
        return sum(self.excesses)

    @property
    def within(self) -> bool:
        """Whether all rules hold, limits by the ends of intervals."""
        return self.measured.ran and self.violation == 0

    @property
    def within_by_value(self) -> bool:
        """Whether all rules hold, limits by values."""
        return self.measured.ran and sum(self.by_value) == 0


# Of what is not known or has no bound: more than any measured excess counts.
WITHOUT_BOUND = 10.0
# Accuracy that is lost counts in parts of this, so that a limit of 0 can be asked for.
ACCURACY_SCALE = 0.1


def standing(measured: Measured, baseline: Measured, rules: Rules) -> Standing:
    """Return how a trial stands; ``baseline`` is what the untouched configuration reached on the same rung."""
    loss, ratio = _loss(measured, baseline), _ratio(measured, baseline)
    worst = [worst_of(limit, measured.leaks) for limit in rules.limits]
    costs = [
        WITHOUT_BOUND if loss is None else max(0.0, loss - rules.max_accuracy_loss) / ACCURACY_SCALE,
        WITHOUT_BOUND if ratio is None else max(0.0, ratio / rules.max_time_ratio - 1),
    ]
    pairs = list(zip(rules.limits, worst, strict=True))
    return Standing(
        measured=measured,
        accuracy_loss=loss,
        time_ratio=ratio,
        worst=worst,
        excesses=[*(_excess(limit, leak, leak.end) for limit, leak in pairs), *costs],
        by_value=[*(_excess(limit, leak, leak.value) for limit, leak in pairs), *costs],
    )


def _loss(measured: Measured, baseline: Measured) -> float | None:
    if measured.accuracy is None or baseline.accuracy is None:
        return None
    # Of two counts over as many images: no digits beyond those of the accuracies.
    return round(baseline.accuracy - measured.accuracy, 12)


def _ratio(measured: Measured, baseline: Measured) -> float | None:
    if measured.time_s is None:
        return None
    if baseline.time_s is None:  # the untouched configuration did not get there: whatever does is no slower
        return 1.0
    return measured.time_s / baseline.time_s if baseline.time_s > 0 else 1.0


def worst_of(limit: Limit, leaks: Sequence[Leak]) -> Leak:
    """Return what exposes most for a limit, by the ends of intervals; what has no bound is worst of all."""
    own = [leak for leak in leaks if leak.limit == str(limit)]
    if not own:
        return Leak(limit=str(limit), tier=None, source=NO_TIER, value=None, end=None, other_end=None)
    unbounded = [leak for leak in own if leak.end is None]
    return unbounded[0] if unbounded else max(own, key=lambda leak: limit.exposed(leak.end or 0.0))


def _excess(limit: Limit, leak: Leak, value: float | None) -> float:
    """Return by how much a limit is broken, in parts of its bound."""
    if leak.source == NO_TIER:
        return 0.0
    if value is None:
        return WITHOUT_BOUND
    return min(max(0.0, limit.excess(value)) / (abs(limit.bound) or 1.0), WITHOUT_BOUND)


def objectives(stand: Standing, limits: Sequence[Limit]) -> tuple[float, ...]:
    """Return what is to be low: accuracy lost, time, and what leaks by each limit's metric at its worst tier."""
    leaks = [_exposed(limit, leak) for limit, leak in zip(limits, stand.worst, strict=True)]
    lost = 1.0 if stand.accuracy_loss is None else stand.accuracy_loss
    slow = WITHOUT_BOUND if stand.time_ratio is None else stand.time_ratio
    return (lost, slow, *leaks)


def _exposed(limit: Limit, leak: Leak) -> float:
    beyond = WITHOUT_BOUND * (1 + abs(limit.bound))
    if leak.source == NO_TIER:
        return -beyond
    return beyond if leak.value is None else limit.exposed(leak.value)
