"""Rounds by the paper's formulas in plain loops, and what the tests of a schedule share."""

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import ClassVar

import numpy as np

from dtfl_private.protocol.contracts import FloatArray, IntArray, TierChoice
from dtfl_private.simulation.clients.conditions import slowness
from dtfl_private.simulation.costs.table import TierTable
from dtfl_private.simulation.round_plan import RoundPlan
from dtfl_private.simulation.schedule_round import schedule_round
from dtfl_private.simulation.schedule_state import ScheduleSettings, ScheduleState
from dtfl_private.simulation.timing import Overlapping

MakeSchedule = Callable[..., ScheduleSettings]


# dtfl section 4: CPUs and Mbit/s.
PAPER = ((4, 100), (2, 30), (1, 30), (0.2, 30), (0.1, 10))


CPU_MACS_PER_S = 3e9


def play(settings: ScheduleSettings, rounds: int) -> Iterator[tuple[ScheduleState, RoundPlan]]:
    """Yield the state after each round and the round's plan."""
    state = ScheduleState.start(settings)
    for number in range(1, rounds + 1):
        state, plan = schedule_round(state, settings, number)
        yield state, plan


def by_hand(settings: ScheduleSettings, kind: int, images: int, tier: int) -> tuple[float, float, float]:
    """Return T_c, T_com, T_s of a client with a paper profile that trains on ``images`` images in all."""
    cpus, mbit_s = PAPER[kind]
    row = next(row for row in settings.table.rows if row.tier == tier)
    t_c = images * row.client_train_macs / (cpus * CPU_MACS_PER_S)
    sent = images * (row.smashed_bytes + row.label_bytes) + 2 * row.weight_bytes
    t_s = images * row.server_train_macs / (settings.server.cpus * CPU_MACS_PER_S)
    return t_c, sent / (mbit_s * 1e6 / 8), t_s


def papers_choice(settings: ScheduleSettings, kinds: list[int]) -> list[int]:
    """Return the paper's tiers from the true times of clients that all take part: plain loops."""
    times = []
    for kind, images in zip(kinds, settings.images_K.tolist(), strict=True):
        by_tier = {}
        for tier in settings.table.tiers_M.tolist():
            t_c, t_com, t_s = by_hand(settings, kind, images * settings.local_epochs, tier)
            by_tier[tier] = max(t_c + t_com, t_s + t_com)
        times.append(by_tier)
    t_max = max(min(by_tier.values()) for by_tier in times)
    return [max(tier for tier, seconds in by_tier.items() if seconds <= t_max) for by_tier in times]


def assert_same(one: object, other: object) -> None:
    """Compare two dataclasses field by field, arrays by value, NaN equal to NaN."""
    for field in fields(one):  # type: ignore[arg-type] # a dataclass of any kind
        a, b = getattr(one, field.name), getattr(other, field.name)
        if hasattr(a, "__dataclass_fields__"):
            assert_same(a, b)
        else:
            np.testing.assert_array_equal(a, b, err_msg=field.name)


class Recorder:
    """Keeps what a scheduler is shown and gives all clients the tier of the middle column."""

    uses_times: ClassVar[bool] = True

    def __init__(self) -> None:
        self.shown: list[TierChoice] = []

    def assign(self, choice: TierChoice, rng: np.random.Generator) -> IntArray:
        self.shown.append(choice)
        return np.full(len(choice.times_s_KM), choice.tiers_M[1])


def images_of_first_batches(images: int, batch_size: int, epochs: int, batches: int, every: int = 1) -> int:
    sizes = []
    for _ in range(epochs):
        left = images
        while left:
            sizes.append(min(left, batch_size))
            left -= sizes[-1]
    return sum(sizes[:batches:every])


def releasing(table: TierTable) -> TierTable:
    """Return the table with a forward pass for what is sent, as a defense that releases apart has it."""
    return replace(table, rows=tuple(replace(row, release_macs=row.client_forward_macs) for row in table.rows))


def train_first(make_schedule: MakeSchedule, **changes: object) -> ScheduleSettings:
    settings = make_schedule(**changes)
    return replace(settings, timing=Overlapping(trains_first=True), table=releasing(settings.table))


CHANGING = {"noise": 0.3, "drift_share": 0.5, "drift_every": 2, "dropout": 0.2}


WRONG = {"profile_error": 0.5}


def mis_profiled(make_schedule: MakeSchedule, **changes: object) -> ScheduleSettings:
    """Return a schedule whose clients' true ratios between tiers are not those of the table."""
    settings = make_schedule(environment=WRONG, **changes)
    macs = np.diff([0, *(row.client_forward_macs for row in settings.table.rows), settings.table.forward_macs])
    return replace(settings, table=replace(settings.table, module_macs=tuple(macs.tolist())))


def slow(settings: ScheduleSettings) -> FloatArray:
    return slowness(settings.environment, settings.table.module_macs, settings.table.tiers_M)
