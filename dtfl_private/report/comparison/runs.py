"""What one run came to: accuracy and expense round by round, idle time, what its audit found.

A run's *expense* is counted on four axes from its start to the end of each round: simulated seconds, rounds, bytes that
were sent, multiply-accumulates on clients and server. The expense to a target accuracy is that at the end of the first
round whose test accuracy is at least the target.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dtfl_private.leakage.results.result import Result
from dtfl_private.protocol.contracts import FloatArray
from dtfl_private.report.comparison.exposure import Exposure

AxisName = Literal["time_s", "rounds", "bytes", "macs"]


AXES: tuple[AxisName, ...] = ("time_s", "rounds", "bytes", "macs")


TO_TARGET: Mapping[AxisName, str] = {
    "time_s": "time_to_target_s",
    "rounds": "rounds_to_target",
    "bytes": "bytes_to_target",
    "macs": "macs_to_target",
}
"""How compare.json calls the expense to the target on each axis."""


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
        leakage: the SSIM that its audit found, tier by tier; None if it was not audited.
        exposure: what its audit found, goal by goal; likewise.
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
    exposure: Exposure | None = None

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
