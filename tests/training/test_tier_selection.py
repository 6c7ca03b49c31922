"""TiFL-like selection: rounds of clients that are about equally fast."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.plan import plan as plan_command
from dtfl_private.simulation.estimates import NEVER, History
from dtfl_private.simulation.round_plan import RoundPlan
from dtfl_private.simulation.schedule_round import schedule_round
from dtfl_private.simulation.schedule_state import ScheduleSettings, ScheduleState
from dtfl_private.simulation.schedulers.baseline_schedulers import Static
from dtfl_private.training.methods.full import SpeedGroups

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


def newcomers_of(rounds: Sequence[RoundPlan]) -> list[set[int]]:
    """Return the participants of each round who take part for the first time."""
    known: set[int] = set()
    found = []
    for plan in rounds:
        found.append(set(plan.clients_P.tolist()) - known)
        known |= set(plan.clients_P.tolist())
    return found


def test_newcomers_go_first_all_but_one_place(one_tier):
    first, second, *_ = plans(one_tier(5), 2)
    assert first.clients_P.tolist() == list(range(10))
    assert len(second.clients_P) == 2
    sampled = plans(one_tier(5, fraction=0.3), 8)
    assert [len(new) for new in newcomers_of(sampled)] == [3, 2, 2, 2, 1, 0, 0, 0]
    # The last newcomer trains with a whole group of at most two; a group is smaller than the sample.
    assert [len(plan.clients_P) for plan in sampled] == [3, 3, 3, 3, 3, 2, 2, 2]


def test_where_one_takes_part_a_newcomer_trains_with_a_measured_client(one_tier):
    rounds = plans(one_tier(3, fraction=0.1), 12)
    assert [len(plan.clients_P) for plan in rounds] == [1] + 9 * [2] + 2 * [1]
    assert [len(new) for new in newcomers_of(rounds)] == 10 * [1] + 2 * [0]


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


def measured_by_number(clients: int, newcomers: Sequence[int]) -> History:
    """Return a history in which client k is the faster the smaller k is, and newcomers are not in it."""
    tier_K = np.full(clients, 4)
    tier_K[list(newcomers)] = NEVER
    seconds_KM = (1 + np.arange(clients, dtype=np.float64))[:, None]
    seconds_KM[list(newcomers)] = np.nan
    link_K = np.ones(clients)
    return replace(
        History.empty(clients, 1),
        seconds_KM=seconds_KM,
        tier_K=tier_K,
        up_bytes_s_K=1e9 * link_K,
        down_bytes_s_K=1e9 * link_K,
        latency_s_K=0 * link_K,
    )


@pytest.mark.parametrize("groups", range(1, 8))
def test_participants_come_from_one_group_and_from_newcomers_whatever_the_numbers(one_tier, groups):
    """Groups are runs of neighbours in speed, as equal as may be; all who can take part do."""
    settings = one_tier(groups)
    for clients in range(1, 31):
        settings = replace(settings, images_K=np.full(clients, 100))
        for few in (0, 1, 3, clients):
            rng = np.random.default_rng([clients, groups, few])
            newcomers = np.sort(rng.permutation(clients)[:few])
            measured = np.setdiff1d(np.arange(clients), newcomers)
            history = measured_by_number(clients, newcomers.tolist())
            fast_to_slow = [set(part.tolist()) for part in np.array_split(measured, groups)]
            for number in (1, 2):
                chosen = SpeedGroups(groups=groups).choose(np.arange(clients), clients, history, settings, number)
                assert len(set(chosen.tolist())) == len(chosen) > 0
                assert set(newcomers.tolist()) <= set(chosen.tolist())
                assert set(chosen.tolist()) - set(newcomers.tolist()) in (fast_to_slow if len(measured) else [set()])


def test_groups_of_unequal_size_can_be_planned():
    """Eleven clients in five groups: two or three in each."""
    config = TrainConfig(method="tifl", clients=11, rounds=6, model="resnet-8")
    rounds = plan_command(config, input_shape=(1, 8, 8)).rounds
    assert rounds[0].participants == 11
    assert {planned.participants for planned in rounds[1:]} <= {2, 3}


def test_a_client_that_joins_is_never_alone(one_tier):
    """Clients come and go; a lone newcomer among measured ones used to make rounds of its own."""
    settings = one_tier(5, environment={"leave": 0.05, "join": 0.2, "absent": 0.4})
    rounds = plans(settings, 40)
    new = newcomers_of(rounds)
    assert sum(1 for joined in new[1:] if joined) >= 3
    for plan, joined in zip(rounds[1:], new[1:], strict=True):
        assert set(plan.clients_P.tolist()) - joined
