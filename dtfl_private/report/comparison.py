"""Runs side by side, as values: what each one reached at what expense, and means over seeds with their intervals.

A run's *expense* is counted on four axes from its start to the end of each round: simulated seconds, rounds, bytes that
were sent, multiply-accumulates on clients and server. The expense to a target accuracy is that at the end of the first
round whose test accuracy is at least the target.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

from dtfl_private.leakage.result import Result
from dtfl_private.protocol.contracts import FloatArray

AxisName = Literal["time_s", "rounds", "bytes", "macs"]
AXES: tuple[AxisName, ...] = ("time_s", "rounds", "bytes", "macs")

TO_TARGET: Mapping[AxisName, str] = {
    "time_s": "time_to_target_s",
    "rounds": "rounds_to_target",
    "bytes": "bytes_to_target",
    "macs": "macs_to_target",
}
"""How compare.json calls the expense to the target on each axis."""

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Course:
    """The course of a run: test accuracy after each round, and by axis what the run had then cost, both (rounds,)."""

    accuracy_R: FloatArray
    expense_R: Mapping[AxisName, FloatArray]

    def to_target(self, target: float | None) -> dict[AxisName, float | None]:
        """Return the expense up to the first round that reaches the target; None where no round does."""
        if target is None or not (self.accuracy_R >= target).any():
            return dict.fromkeys(AXES)
        first = int((self.accuracy_R >= target).argmax())
        return {axis: float(self.expense_R[axis][first]) for axis in AXES}

    @property
    def total(self) -> dict[AxisName, float]:
        """The expense of the whole run."""
        return {axis: float(self.expense_R[axis][-1]) for axis in AXES}


@dataclass(frozen=True, kw_only=True)
class Leakage:
    """What the strongest attacks of an audit reached by one metric: a result for each tier, one at least, ascending."""

    strongest: Sequence[Result]

    @property
    def metric(self) -> str:
        """Name of the metric."""
        return self.strongest[0].metric

    @property
    def low(self) -> float:
        """The lowest value of all tiers."""
        return min(result.value for result in self.strongest)

    @property
    def high(self) -> float:
        """The highest value of all tiers."""
        return max(result.value for result in self.strongest)


@dataclass(frozen=True, kw_only=True)
class RunFigures:
    """What one run comes to.

    Attributes:
        run: its folder.
        seed: of all its chance.
        finished: whether it ended as configured.
        target: test accuracy to reach, or None.
        course: accuracy and expense, round by round.
        idle_s: for each client id, the seconds that it waited for the slowest participant, summed over the rounds it
            took part in: round time minus the client's own time.
        busy_s: likewise the client's own times.
        regret: by what share the rounds lasted longer than with the tiers of a scheduler that knows the true times;
            None for methods without a choice of tiers.
        leakage: what its audit found; None if it was not audited.
    """

    run: str
    seed: int
    finished: bool
    target: float | None
    course: Course
    idle_s: Mapping[str, float]
    busy_s: Mapping[str, float]
    regret: float | None = None
    leakage: Leakage | None = None

    @property
    def final_accuracy(self) -> float:
        """Test accuracy after the last finished round."""
        return float(self.course.accuracy_R[-1])

    @property
    def best_accuracy(self) -> float:
        """Highest test accuracy after any round."""
        return float(self.course.accuracy_R.max())

    @property
    def idle_s_per_client(self) -> float:
        """Idle seconds of the whole run, mean over the clients that ever took part."""
        return sum(self.idle_s.values()) / max(1, len(self.idle_s))

    @property
    def idle_share(self) -> float:
        """Idle time as a share of the time that clients spent in rounds, 0..1: the waste that stragglers cause."""
        idle = sum(self.idle_s.values())
        whole = idle + sum(self.busy_s.values())
        return idle / whole if whole else 0.0


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean over the runs of a group, with its 95 % interval (Student's t).

    Attributes:
        mean: None if a run never reached the target: a mean over the others alone would flatter.
        ci_low: lower end of the interval; None without a mean or with a single run.
        ci_high: upper end.
        at_least: with runs that never reached the target, what the mean would at least be: they count with all they
            had spent when they ended.
    """

    mean: float | None
    ci_low: float | None = None
    ci_high: float | None = None
    at_least: float | None = None

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval."""
        return None if self.ci_high is None or self.mean is None else self.ci_high - self.mean


def mean_of(values: Sequence[float]) -> Mean:
    """Return the mean of at least one value; the interval needs two."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Mean(mean=mean)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))
    return Mean(mean=mean, ci_low=mean - half, ci_high=mean + half)


def mean_to_target(expenses: Sequence[float | None], totals: Sequence[float]) -> Mean:
    """Return the mean expense to the target, or its lower bound when a run did not get there.

    Args:
        expenses: of each run to the target, None if it never reached it.
        totals: of each whole run.
    """
    reached = [expense for expense in expenses if expense is not None]
    if len(reached) == len(expenses):
        return mean_of(reached)
    bounds = [total if expense is None else expense for expense, total in zip(expenses, totals, strict=True)]
    return Mean(mean=None, at_least=float(np.mean(bounds)))


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs that differ by their seeds alone.

    name: how tables and pictures call it. settings: what its runs share, by configuration key.
    """

    name: str
    settings: Mapping[str, Any]
    runs: Sequence[RunFigures]

    @property
    def reached(self) -> int:
        """Number of runs that reached the target."""
        return sum(run.course.to_target(run.target)["rounds"] is not None for run in self.runs)

    def accuracy(self, which: Literal["final_accuracy", "best_accuracy"]) -> Mean:
        """Return the mean final or best test accuracy."""
        return mean_of([getattr(run, which) for run in self.runs])

    @property
    def regret(self) -> Mean:
        """The mean regret; None if a run has none."""
        regrets = [run.regret for run in self.runs if run.regret is not None]
        return mean_of(regrets) if len(regrets) == len(self.runs) else Mean(mean=None)

    @property
    def leakages(self) -> list[Leakage]:
        """What the audits found of those runs that were audited."""
        return [run.leakage for run in self.runs if run.leakage is not None]

    def to_target(self, axis: AxisName) -> Mean:
        """Return the mean expense to the target; without a target there is neither mean nor bound."""
        if self.runs[0].target is None:
            return Mean(mean=None)
        expenses = [run.course.to_target(run.target)[axis] for run in self.runs]
        return mean_to_target(expenses, [run.course.total[axis] for run in self.runs])


@dataclass(frozen=True, kw_only=True)
class Speedup:
    """How many times sooner than the baseline a group reaches the target, in simulated time.

    Attributes:
        value: the baseline's mean time over the group's.
        at_least: a bound instead, when some run of the baseline never reached the target.
        at_most: a bound instead, when some run of the group never did. With both, or no target, nothing is known.
        low: the smallest ratio of two runs of equal seeds.
        high: the largest one.
    """

    value: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    low: float | None = None
    high: float | None = None


def speedup(group: Group, baseline: Group | None) -> Speedup:
    """Return a group's speed-up against the baseline."""
    if baseline is None:
        return Speedup()
    own, other = group.to_target("time_s"), baseline.to_target("time_s")
    if own.mean and other.mean:
        ratios = _ratios_by_seed(group, baseline)
        low, high = (min(ratios), max(ratios)) if ratios else (None, None)
        return Speedup(value=other.mean / own.mean, low=low, high=high)
    if own.mean and other.at_least:
        return Speedup(at_least=other.at_least / own.mean)
    if own.at_least and other.mean:
        return Speedup(at_most=other.mean / own.at_least)
    return Speedup()


def _ratios_by_seed(group: Group, baseline: Group) -> list[float]:
    """Return the ratios of the times of runs of equal seeds, all of which reached the target."""
    others = {run.seed: run.course.to_target(run.target)["time_s"] for run in baseline.runs}
    own = {run.seed: run.course.to_target(run.target)["time_s"] for run in group.runs}
    return [other_s / own_s for seed, own_s in own.items() if own_s and (other_s := others.get(seed)) is not None]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Groups on one footing: the same data, environment and target, so that their figures may be compared.

    name: what sets it apart from the comparison's other settings; empty if it is the only one.
    about: what all settings have in common: network, data, clients.
    """

    name: str
    about: str
    target: float | None
    groups: Sequence[Group]
    baseline: Group | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Runs side by side, setting by setting, and what a reader must know of them."""

    settings: Sequence[Setting]
    notes: Sequence[str]
