import copy
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from dtfl_private.experiments.run_folder.checkpoint import load_checkpoint, save_checkpoint
from dtfl_private.simulation.schedule_round import learn_progress, schedule_round
from dtfl_private.simulation.schedule_state import ScheduleState
from dtfl_private.simulation.schedulers.baseline_schedulers import Random, Static
from tests.simulation.rounds_by_hand import MakeSchedule, assert_same, play

ALL_CHANCE = {
    "drift_share": 0.3,
    "drift_every": 2,
    "noise": 0.3,
    "dropout": 0.2,
    "absent": 0.3,
    "leave": 0.2,
    "join": 0.2,
}


def test_a_round_is_a_pure_function_of_state_and_number(make_schedule: MakeSchedule):
    settings = make_schedule(environment=ALL_CHANCE, fraction=0.7)
    state = ScheduleState.start(settings)
    for number in range(1, 8):
        untouched = copy.deepcopy(state)
        once, twice = schedule_round(state, settings, number), schedule_round(state, settings, number)
        assert_same(once[1], twice[1])
        assert_same(once[0], twice[0])
        assert_same(state, untouched)
        state = once[0]


def test_another_seed_gives_another_schedule(make_schedule: MakeSchedule):
    settings = make_schedule(environment=ALL_CHANCE, fraction=0.5, scheduler=Random())
    (_, first), (_, other) = next(play(settings, 1)), next(play(replace(settings, seed=5), 1))
    assert first.tiers_P.tolist() != other.tiers_P.tolist() or first.clients_P.tolist() != other.clients_P.tolist()


def test_virtual_time_is_the_sum_of_the_rounds_and_never_runs_back(make_schedule: MakeSchedule):
    played = list(play(make_schedule(environment=ALL_CHANCE), 20))
    for (before, _), (after, plan) in pairwise(played):
        assert plan.round_time_s > 0
        assert after.clock.now_s == before.clock.now_s + plan.round_time_s
    assert [plan.round for _, plan in played] == list(range(1, 21))


def test_progress_is_learnt_from_those_who_stayed(make_schedule: MakeSchedule):
    settings = make_schedule(scheduler=Static(4))
    state, plan = next(play(settings, 1))
    assert learn_progress(state, plan, settings, None).progress == state.progress
    mixed = replace(plan, tiers_P=np.array([1] * 5 + [4] * 5), dropped_P=np.array([True] * 5 + [False] * 5))
    assert learn_progress(state, plan, settings, 2.0).progress.last_depth == pytest.approx(1.0)
    assert learn_progress(state, mixed, settings, 2.0).progress.last_depth == pytest.approx(1.0)
    shallow = replace(plan, tiers_P=np.ones(10, dtype=np.int64))
    assert learn_progress(state, shallow, settings, 2.0).progress.last_depth == 0.0


def test_a_resumed_run_has_the_same_wrong_profiles(prepare_tiny, play, tmp_path):
    """Nothing of them is in a checkpoint: they follow from the seed."""
    run = prepare_tiny(scheduler="dynamic", profile_error=0.5, cpu_gmacs=0.01)
    (first, _), (_, second) = play(run, 2)
    save_checkpoint(tmp_path, first)
    state = load_checkpoint(tmp_path, run.initial, run.settings.schedule, print)
    ((_, resumed),) = play(replace(run, initial=state))
    assert_same(resumed.plan, second.plan)
    ((_, right),) = play(prepare_tiny(scheduler="dynamic", cpu_gmacs=0.01))
    assert right.plan.round_time_s != play(run)[0][1].plan.round_time_s
