from dataclasses import replace

import numpy as np
import pytest

from dtfl_private.simulation.costs.table import TierTable
from dtfl_private.simulation.estimates import NEVER
from dtfl_private.simulation.schedule_state import ScheduleSettings
from dtfl_private.simulation.schedulers.baseline_schedulers import LastValue, Oracle, Random, Static, StaticProfile
from dtfl_private.simulation.schedulers.dynamic import Dynamic
from dtfl_private.simulation.schedulers.efficient import Efficient
from dtfl_private.simulation.server_queue import ServerCapacity
from dtfl_private.simulation.timing import Overlapping
from tests.simulation.rounds_by_hand import (
    CHANGING,
    CPU_MACS_PER_S,
    PAPER,
    MakeSchedule,
    Recorder,
    by_hand,
    play,
    releasing,
    train_first,
)


@pytest.mark.parametrize("scheduler", ["dynamic", 1, 2, 3, 4])
@pytest.mark.parametrize("server_cpus", [8.0, 0.5])
def test_a_round_lasts_as_long_as_the_papers_formula_says(
    make_schedule: MakeSchedule, scheduler: str | int, server_cpus: float
):
    server = ServerCapacity(workers=10, cpus=server_cpus)
    settings = make_schedule(server=server, local_epochs=2)
    if isinstance(scheduler, int):
        settings = replace(settings, scheduler=Static(scheduler))
    *_, (state, plan) = play(settings, 2)
    slower_server = 0
    for place, client in enumerate(plan.clients_P.tolist()):
        kind, tier = state.environment.profile_K[client], plan.tiers_P[place]
        t_c, t_com, t_s = by_hand(settings, kind, 2 * (100 + 10 * client), tier)
        assert plan.compute_s_P[place] == pytest.approx(t_c, rel=1e-12)
        assert plan.transfer_s_P[place] == pytest.approx(t_com, rel=1e-12)
        assert plan.client_time_s_P[place] == pytest.approx(max(t_c + t_com, t_s + t_com), rel=1e-12)
        slower_server += t_s > t_c
    assert plan.clients_P.tolist() == list(range(10))
    assert plan.round_time_s == plan.client_time_s_P.max()
    assert plan.server_wait_s == 0
    if (scheduler, server_cpus) == (2, 0.5):
        # Both sides of the maximum are met.
        assert 0 < slower_server < 10


def test_a_round_that_all_drop_out_of_still_takes_time(make_schedule: MakeSchedule):
    settings = make_schedule(environment={"dropout": 1.0}, first_tier="shallowest")
    state, plan = next(play(settings, 1))
    assert plan.dropped_P.all()
    assert (state.history.tier_K == NEVER).all()
    assert 0 < plan.round_time_s == state.clock.now_s


@pytest.mark.parametrize("trains_first", [False, True])
def test_batches_wait_first_come_first_served(make_schedule: MakeSchedule, trains_first: bool):
    """Played in a thousand batches each, on one worker, from the parts that the paper's formula has."""
    settings = make_schedule(scheduler=Static(1), server=ServerCapacity(workers=1, cpus=0.2))
    settings = replace(settings, timing=Overlapping(trains_first=trains_first), table=releasing(settings.table))
    state, plan = next(play(settings, 1))
    batches, done, alone = [], [], []
    for client, kind in enumerate(state.environment.profile_K):
        t_c, t_com, t_s = by_hand(settings, kind, 100 + 10 * client, 1)
        t_release = t_c * settings.table.rows[0].release_macs / settings.table.rows[0].client_train_macs
        first, streaming = (t_c + t_com, t_release) if trains_first else (t_com, t_c + t_release)
        batches += [(first + i / 1000 * streaming, client, t_s / 1000) for i in range(1000)]
        done.append(first + streaming)
        alone.append(first + max(streaming, t_s))
    free_at = 0.0
    for arrival, client, work in sorted(batches):
        free_at = max(free_at, arrival) + work
        done[client] = max(done[client], free_at)
    expected = [max(both) for both in zip(done, alone, strict=True)]
    assert plan.client_time_s_P.tolist() == pytest.approx(expected, rel=0.005)
    assert plan.server_wait_s == pytest.approx(sum(expected) - sum(alone), rel=0.01)
    assert plan.server_wait_s > 100


def first_by_hand(settings: ScheduleSettings, kind: int, images: int, tier: int) -> float:
    """Return T_train + T_com + max(T_release, T_s)."""
    t_train, t_com, t_s = by_hand(settings, kind, images, tier)
    row = next(row for row in settings.table.rows if row.tier == tier)
    return t_train + t_com + max(images * row.release_macs / (PAPER[kind][0] * CPU_MACS_PER_S), t_s)


@pytest.mark.parametrize("server_cpus", [8.0, 0.5])
def test_truth_estimates_and_oracle_know_who_trains_first(make_schedule: MakeSchedule, server_cpus: float):
    """Without chance all three are the same formula, and the paper's rule is applied to it."""
    recorder, server = Recorder(), ServerCapacity(workers=10, cpus=server_cpus)
    settings = train_first(make_schedule, scheduler=recorder, server=server)
    for state, plan in play(settings, 2):
        kinds, shown = state.environment.profile_K.tolist(), recorder.shown[-1]
        clients = list(zip(kinds, settings.images_K.tolist(), strict=True))
        times = [[first_by_hand(settings, *client, tier) for tier in (1, 2, 3, 4)] for client in clients]
        np.testing.assert_allclose(shown.times_s_KM, times, rtol=1e-12)
        assert shown.estimates is not None
        parts = (shown.estimates.arrival_s_KM, shown.estimates.streaming_s_KM, shown.estimates.service_s_KM)
        np.testing.assert_allclose(parts[0] + np.maximum(*parts[1:]), times, rtol=1e-12)
        t_max = max(map(min, times))
        oracles = [max(tier for tier in range(4) if row[tier] <= t_max) for row in times]
        assert plan.oracle_time_s == pytest.approx(max(row[m] for row, m in zip(times, oracles, strict=True)))
        if plan.round == 2:  # without the probe
            assert plan.client_time_s_P.tolist() == pytest.approx([row[1] for row in times], rel=1e-12)
    server_is_slower = [by_hand(settings, kind, 100, 2)[2] > 0.3 * by_hand(settings, kind, 100, 2)[0] for kind in kinds]
    assert server_cpus == 8.0 or len(set(server_is_slower)) == 2


def test_the_oracles_time_is_what_the_oracle_takes(make_schedule: MakeSchedule):
    settings = make_schedule(environment=CHANGING, server=ServerCapacity(workers=3, cpus=0.5))
    oracle = [plan for _, plan in play(replace(settings, scheduler=Oracle()), 6)]
    assert all(plan.round_time_s == plan.oracle_time_s for plan in oracle)
    for scheduler in (Dynamic(), Static(2), Random()):
        plans = [plan for _, plan in play(replace(settings, scheduler=scheduler), 6)]
        assert [plan.oracle_time_s for plan in plans] == [plan.round_time_s for plan in oracle]
        assert any(plan.round_time_s > 1.01 * plan.oracle_time_s for plan in plans)


def test_with_enough_workers_no_round_is_shorter_than_the_oracles(make_schedule: MakeSchedule):
    for scheduler in (Dynamic(), LastValue(), StaticProfile(), Efficient(), Random(), Static(1)):
        for _, plan in play(make_schedule(environment=CHANGING, scheduler=scheduler), 8):
            assert plan.round_time_s >= plan.oracle_time_s * (1 - 1e-12)


def test_without_a_choice_of_tiers_there_is_no_oracle(make_schedule: MakeSchedule, four_tiers: TierTable):
    _, plan = next(play(make_schedule(table=four_tiers.deepest(1), scheduler=Static(4)), 1))
    assert plan.oracle_time_s is None
