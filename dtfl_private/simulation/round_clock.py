"""Where a round's times come from: it is planned before training, and closed with times after it."""

from collections.abc import Collection
from typing import ClassVar, Literal, Protocol

from dtfl_private.simulation.measurements import measure_round
from dtfl_private.simulation.round_plan import RoundPlan
from dtfl_private.simulation.schedule_round import PlannedRound, close_round, plan_round
from dtfl_private.simulation.schedule_state import ScheduleSettings, ScheduleState

ClockKind = Literal["simulated", "wall"]


class RoundClock(Protocol):
    """What makes a round's times: the simulation, or a clock on the wall."""

    kind: ClassVar[ClockKind]

    def begin(
        self, state: ScheduleState, settings: ScheduleSettings, round_number: int, retired: Collection[int]
    ) -> PlannedRound:
        """Return the round as it is to be played."""
        ...

    def close(self, planned: PlannedRound, settings: ScheduleSettings) -> tuple[ScheduleState, RoundPlan]:
        """Return the state after the round, now that it has been played, and the round as it went."""
        ...


class SimulatedClock:
    """Rounds take as long as the simulated resources say."""

    kind: ClassVar[ClockKind] = "simulated"

    def begin(
        self, state: ScheduleState, settings: ScheduleSettings, round_number: int, retired: Collection[int]
    ) -> PlannedRound:
        """Return the round as it is to be played."""
        return plan_round(state, settings, round_number, retired)

    def close(self, planned: PlannedRound, settings: ScheduleSettings) -> tuple[ScheduleState, RoundPlan]:
        """Return the state after the round, and the round as it was planned."""
        return close_round(planned, settings, planned.plan, measure_round(planned.plan, planned.truth, settings))
