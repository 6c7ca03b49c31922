"""Chance in a round's schedule. The draws are seeded: a test fails always or never.

The bounds are five standard deviations wide: a right implementation with another stream would fail with probability
6e-7 per bound. Each check is shown to reject a rate that is wrong by a tenth.
"""

import math
from collections.abc import Callable

import numpy as np

from dtfl_private.simulation.schedule_round import schedule_round
from dtfl_private.simulation.schedule_state import ScheduleSettings, ScheduleState
from dtfl_private.simulation.schedulers.baseline_schedulers import Static


def plausible_rate(hits: int, trials: int, rate: float) -> bool:
    return abs(hits - trials * rate) <= 5 * math.sqrt(trials * rate * (1 - rate))


def test_participants_drop_out_at_their_rate_and_evenly_over_the_round(make_schedule: Callable[..., ScheduleSettings]):
    clients, batches = 40_000, 50
    settings = make_schedule(
        environment={"clients": clients, "dropout": 0.2},
        images_K=np.full(clients, 32 * batches),
        scheduler=Static(2),
    )
    _, plan = schedule_round(ScheduleState.start(settings), settings, 1)
    dropped = int(plan.dropped_P.sum())
    assert plausible_rate(dropped, clients, 0.2)
    assert not plausible_rate(dropped, clients, 0.22)
    assert not plausible_rate(dropped, clients, 0.18)
    # A client that drops out has done 0 to 49 batches, each number equally likely.
    assert plan.batches_P[plan.dropped_P].max() == batches - 1
    for done in range(5):
        in_fifth = int((plan.batches_P[plan.dropped_P] // 10 == done).sum())
        assert plausible_rate(in_fifth, dropped, 0.2)


def test_every_present_client_is_equally_likely_to_take_part(make_schedule: Callable[..., ScheduleSettings]):
    rounds = 2000
    settings = make_schedule(environment={"absent": 0.5}, fraction=0.6, scheduler=Static(1))
    state = ScheduleState.start(settings)
    taken_K = np.zeros(10, dtype=np.int64)
    for number in range(1, rounds + 1):
        _, plan = schedule_round(state, settings, number)
        taken_K[plan.clients_P] += 1
    present = state.environment.present_K
    assert (taken_K[~present] == 0).all()
    # Three of five take part.
    for count in taken_K[present].tolist():
        assert plausible_rate(count, rounds, 0.6)
        assert not plausible_rate(count, rounds, 0.67)
        assert not plausible_rate(count, rounds, 0.53)
