"""TiFL-like selection: rounds of clients that are about equally fast."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from dtfl_private.federated.methods.full import SpeedGroups
from dtfl_private.federated.schedule import RoundPlan, ScheduleSettings, ScheduleState, schedule_round
from dtfl_private.tiers.schedulers import Static

MakeSchedule = Callable[..., ScheduleSettings]


def plans(settings: ScheduleSettings, rounds: int) -> list[RoundPlan]:
    state, found = ScheduleState.start(settings), []
    for number in range(1, rounds + 1):
        state, plan = schedule_round(state, settings, number)
        found.append(plan)
    return found


@pytest.fixture
def one_tier(make_schedule: MakeSchedule, four_tiers) -> Callable[..., ScheduleSettings]:
    def make(groups: int, **changes) -> ScheduleSettings:
        table = four_tiers.deepest(1)
        return make_schedule(table=table, scheduler=Static(4), selection=SpeedGroups(groups=groups), **changes)

    return make


def test_all_clients_are_measured_before_there_are_groups(one_tier):
    first, second, *_ = plans(one_tier(5), 2)
    assert first.clients_P.tolist() == list(range(10))
    assert len(second.clients_P) == 2
    sampled = plans(one_tier(5, fraction=0.3), 5)
    measured = [client for plan in sampled[:4] for client in plan.clients_P.tolist()]
    assert Counter(measured) == Counter(range(10))
    assert all(len(plan.clients_P) == 2 for plan in sampled[4:]), "a group is smaller than the sample"


def test_participants_of_a_round_are_neighbours_in_speed(one_tier):
    first, *rest = plans(one_tier(5), 60)
    by_speed = first.clients_P[np.argsort(first.client_time_s_P, kind="stable")].reshape(5, 2)
    groups = {tuple(sorted(group)) for group in by_speed.tolist()}
    drawn = Counter(tuple(plan.clients_P.tolist()) for plan in rest)
    assert set(drawn) == groups
    assert sum(plan.round_time_s for plan in rest) / len(rest) < first.round_time_s


def test_every_group_is_as_likely_as_any_other(one_tier):
    """False-alarm rate below 1e-6: each count is binomial(400, 1/5), with standard deviation 8; 41 is over five."""
    _, *rest = plans(one_tier(5, seed=8), 401)
    drawn = Counter(tuple(plan.clients_P.tolist()) for plan in rest)
    assert all(abs(count - 80) < 41 for count in drawn.values())


def test_more_groups_than_clients_leave_one_client_each(one_tier):
    _, *rest = plans(one_tier(50), 4)
    assert [len(plan.clients_P) for plan in rest] == [1] * 3
