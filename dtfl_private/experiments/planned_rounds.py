"""A plan as a value: its rounds, what they cost, and what other schedules of the same rounds would take."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from dtfl_private.simulation.costs.table import TierTable


@dataclass(frozen=True, kw_only=True)
class PlannedRound:
    """One scheduled round: how many participants in which tier, and what it costs.

    ``retired`` clients had no privacy budget left for it, ``rested`` ones no exposure budget. ``wire_counts`` says how
    many send in which format, where the server names each client's. ``oracle_matches`` of the participants have the
    tier that the oracle would have given them; None if there is no choice.
    """

    round: int
    round_time_s: float
    virtual_time_s: float
    participants: int
    dropped: int
    retired: int
    tier_counts: dict[int, int]
    server_wait_s: float
    oracle_time_s: float | None
    bytes: dict[str, int]
    macs: dict[str, int]
    wire_counts: dict[str, int] = field(default_factory=dict)
    rested: int = 0
    oracle_matches: int | None = None


@dataclass(frozen=True, kw_only=True)
class PlannedExposure:
    """What clients will have exposed after the last round: the most exposed one, and the median one.

    ``rule`` is the budget and what tiers leak, in words.
    """

    rule: str
    budget: float
    highest: float
    median: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A schedule without training, and how long fixed tiers would take under the same resources.

    static_time_s: simulated seconds of the same rounds with every client in tier m, by m.
    scheduler_time_s: the same with other schedulers, by name.
    allowed: why the table has the tiers that it has, in words; None if no tier is forbidden.
    unlimited_time_s: the same with the same scheduler, were nothing limited; None if nothing is.
    exposure: what clients will have exposed; None without an exposure budget.
    notes: lines for the user.
    """

    table: TierTable
    rounds: Sequence[PlannedRound]
    static_time_s: dict[int, float]
    scheduler_time_s: dict[str, float] = field(default_factory=dict)
    allowed: str | None = None
    unlimited_time_s: float | None = None
    exposure: PlannedExposure | None = None
    notes: Sequence[str] = ()

    def __repr__(self) -> str:
        from dtfl_private.report.notebook.plan import plan_text

        return plan_text(self.rounds, self._others_s, self.allowed)

    def _repr_html_(self) -> str:
        from dtfl_private.report.notebook.plan import plan_html

        allowed = [] if self.allowed is None else [self.allowed]
        return plan_html(self.rounds, self._others_s, [*allowed, *self.notes])

    @property
    def _others_s(self) -> dict[str, float]:
        fixed = {f"all in tier {tier}": time_s for tier, time_s in self.static_time_s.items()}
        return {**fixed, **self.scheduler_time_s}

    @property
    def virtual_time_s(self) -> float:
        """Simulated seconds of all rounds."""
        return self.rounds[-1].virtual_time_s

    def regret(self, time_s: float) -> float | None:
        """Return by what share a time of all rounds is above the oracle's; None if there is no choice of tiers."""
        oracle_s = [planned.oracle_time_s for planned in self.rounds if planned.oracle_time_s is not None]
        return time_s / sum(oracle_s) - 1 if sum(oracle_s) > 0 else None

    @property
    def tier_accuracy(self) -> float | None:
        """The share of all participations in the tier that the oracle would have given; None without a choice."""
        judged = [planned for planned in self.rounds if planned.oracle_matches is not None]
        took_part = sum(planned.participants for planned in judged)
        return sum(planned.oracle_matches or 0 for planned in judged) / took_part if took_part else None


def total_tier_counts(rounds: Sequence[PlannedRound]) -> Counter[int]:
    """Return how often each tier was given over all rounds."""
    return sum((Counter(planned.tier_counts) for planned in rounds), Counter())
