"""Who is late at the deadline has trained on as many batches as were in time: the paper's formulas in plain loops."""

from dataclasses import replace

import numpy as np
import pytest

from dtfl_private.simulation.schedulers.baseline_schedulers import Static
from dtfl_private.simulation.server_queue import ServerCapacity
from dtfl_private.simulation.timing import SharedServer
from tests.simulation.rounds_by_hand import CHANGING, MakeSchedule, assert_same, by_hand, play

TIER = 2
DRIFT = {"drift_share": 1.0, "drift_every": 1}


class _Timed(Static):
    """One tier for all, of a scheduler that measures its clients before their first round."""

    uses_times = True


def _schedule(make_schedule: MakeSchedule, deadline: float | None, **changes: object):
    server = ServerCapacity(workers=100, cpus=8.0)
    settings = make_schedule(scheduler=_Timed(TIER), ema=1.0, server=server, **changes)
    return replace(settings, deadline=deadline)


@pytest.mark.parametrize(("times", "size"), [(1.0, 7), (1.5, 7), (1.0, 80)])
def test_a_client_stops_after_the_last_batch_with_which_it_is_done_in_time(
    make_schedule: MakeSchedule, times: float, size: int
):
    settings = _schedule(make_schedule, times, environment=DRIFT, batch_size=size)
    (before, _), *later = play(settings, 8)
    stopped, on_one = 0, 0
    for state, plan in later:
        expected_s = max(_time_s(settings, before, client, 100) for client in range(10))
        deadline_s = times * expected_s * (1 + 1e-9)
        for client in range(10):
            batches = -(-(100 + 10 * client) // size)
            in_time = [b for b in range(1, batches + 1) if _time_s(settings, state, client, b) <= deadline_s]
            assert plan.batches_P[client] == max(in_time, default=1)
            assert plan.stopped_P[client] == (plan.batches_P[client] < batches)
            assert plan.images_P[client] == min(plan.batches_P[client] * size, 100 + 10 * client)
            stopped, on_one = stopped + plan.stopped_P[client], on_one + (not in_time)
        done_s = [_time_s(settings, state, client, int(plan.batches_P[client])) for client in range(10)]
        assert plan.round_time_s == pytest.approx(max(done_s), rel=1e-9)
        before = state
    assert stopped > on_one if size == 7 else on_one > 0


def _time_s(settings, state, client: int, batches: int) -> float:
    images = min(100 + 10 * client, batches * settings.batch_size)
    t_c, t_com, t_s = by_hand(settings, state.environment.profile_K[client], images, TIER)
    return max(t_c, t_s) + t_com


def test_nobody_is_stopped_where_clients_stay_as_they_were_measured(make_schedule: MakeSchedule):
    plain, limited = (_schedule(make_schedule, times) for times in (None, 1.001))
    for (_, expected), (_, plan) in zip(play(plain, 4), play(limited, 4), strict=True):
        assert not plan.stopped_P.any()
        assert_same(replace(plan, stopped_P=expected.stopped_P), expected)


def test_nobody_is_stopped_before_anybody_is_measured(make_schedule: MakeSchedule):
    settings = _schedule(make_schedule, 1.0, first_tier="deepest", environment=DRIFT)
    (_, first), *later = play(settings, 5)
    assert not first.stopped_P.any()
    assert any(plan.stopped_P.any() for _, plan in later)


def test_the_server_takes_what_was_sent_and_the_oracle_does_all_the_work(make_schedule: MakeSchedule):
    free, limited = (
        replace(_schedule(make_schedule, times, environment=CHANGING), timing=SharedServer()) for times in (None, 1.0)
    )
    shorter = 0
    for (_, expected), (_, plan) in zip(play(free, 10), play(limited, 10), strict=True):
        assert np.bincount(plan.order, minlength=10).tolist() == plan.sent_batches_P.tolist()
        assert (plan.batches_P <= expected.batches_P).all()
        assert plan.dropped_P.tolist() == expected.dropped_P.tolist()
        assert plan.oracle_time_s == expected.oracle_time_s
        shorter += plan.round_time_s < expected.round_time_s
    assert shorter > 1
