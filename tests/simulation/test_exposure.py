"""Exposure budgets: nobody is above its own after any run, and without a limit nothing changes."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from dtfl_private.protocol.contracts import Scheduler
from dtfl_private.simulation import tier_assignment
from dtfl_private.simulation.exposure import exposed_clients
from dtfl_private.simulation.exposure_budget import ExposureBudget
from dtfl_private.simulation.round_plan import RoundPlan
from dtfl_private.simulation.schedule_round import schedule_round
from dtfl_private.simulation.schedule_state import ScheduleSettings, ScheduleState
from dtfl_private.simulation.schedulers.baseline_schedulers import LastValue, Oracle, Random, Static, StaticProfile
from dtfl_private.simulation.schedulers.dynamic import Dynamic
from dtfl_private.simulation.schedulers.efficient import Efficient
from tests.simulation.rounds_by_hand import MakeSchedule, Recorder, assert_same, play, train_first

SCHEDULERS: tuple[Scheduler, ...] = (
    *(Dynamic(), Efficient(), LastValue(), Oracle(), StaticProfile(), Static(1), Static(4), Random(), Recorder()),
)
ROUNDS = 8
SLACK = 1e-9


def limited(schedule: ScheduleSettings, most: float, leakage: list[float], **values: Any) -> ScheduleSettings:
    budget = ExposureBudget(most=most, leakage_M=np.array(leakage), **{"rounds": ROUNDS, **values})
    return replace(schedule, exposure=budget)


def until_spent(schedule: ScheduleSettings, rounds: int = ROUNDS) -> Iterator[tuple[ScheduleState, RoundPlan]]:
    """Play the rounds as a run does: no further one when all clients have spent their budgets."""
    state = ScheduleState.start(schedule)
    for number in range(1, rounds + 1):
        if len(exposed_clients(state.exposure_K, schedule)) == len(schedule.images_K):
            return
        state, plan = schedule_round(state, schedule, number)
        yield state, plan


def counted(schedule: ScheduleSettings, plans: list[RoundPlan]) -> list[float]:
    """Return what each client has exposed, added up from the rounds in plain loops."""
    assert schedule.exposure is not None
    leakage = dict(zip(schedule.table.tiers_M.tolist(), schedule.exposure.leakage_M.tolist(), strict=True))
    spent = [0.0] * len(schedule.images_K)
    for plan in plans:
        for client, tier, sent in zip(
            plan.clients_P.tolist(), plan.tiers_P.tolist(), plan.sent_P.tolist(), strict=True
        ):
            spent[client] += sent / schedule.images_K[client] * leakage[tier]
    return spent


share = st.integers(0, 10).map(lambda tenths: tenths / 10)
environments = st.fixed_dictionaries(
    {
        "drift_share": share,
        "drift_every": st.integers(1, 3),
        "noise": st.sampled_from([0.0, 0.4]),
        "dropout": st.sampled_from([0.0, 0.3]),
        "absent": st.sampled_from([0.0, 0.3]),
        "leave": st.sampled_from([0.0, 0.2]),
        "join": st.sampled_from([0.0, 0.5]),
        "seed": st.integers(0, 100),
    }
)
runs = st.fixed_dictionaries(
    {
        "scheduler": st.sampled_from(SCHEDULERS),
        "fraction": st.sampled_from([0.3, 0.7, 1.0]),
        "local_epochs": st.sampled_from([1, 2]),
        "send_every": st.sampled_from([1, 2, 3]),
        "deadline": st.sampled_from([None, 1.0, 1.5]),
        "first_tier": st.sampled_from(["probe", "shallowest", "middle", "deepest"]),
        "seed": st.integers(0, 100),
    }
)
leakages = st.lists(st.integers(0, 20).map(lambda part: part / 20), min_size=4, max_size=4)
spendings = st.sampled_from(["paced", "greedy"])


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(environments, runs, leakages, st.integers(0, 60).map(lambda tenths: tenths / 10), spendings, st.booleans())
def test_nobody_is_above_its_budget_after_any_run(make_schedule, environment, values, leakage, most, spending, apart):
    if apart:  # with a deadline such runs are refused
        schedule = train_first(make_schedule, environment=environment, **{**values, "deadline": None})
    else:
        schedule = make_schedule(environment=environment, **values)
    schedule = limited(schedule, most, leakage, spending=spending)
    played = list(until_spent(schedule))
    plans = [plan for _, plan in played]
    for number, (state, plan) in enumerate(played, start=1):
        spent = counted(schedule, plans[:number])
        assert state.exposure_K.tolist() == pytest.approx(spent)
        assert max(spent) <= most * (1 + SLACK)
        assert plan.exposure_P.tolist() == state.exposure_K[plan.clients_P].tolist()
        assert plan.rested is not None
        assert not set(plan.rested.tolist()) & set(plan.clients_P.tolist())


@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=lambda scheduler: type(scheduler).__name__)
@pytest.mark.parametrize("spending", ["paced", "greedy"])
def test_without_an_end_to_the_budget_the_schedule_is_what_it_was(make_schedule: MakeSchedule, scheduler, spending):
    chance = {"drift_share": 0.5, "drift_every": 2, "noise": 0.3, "dropout": 0.2, "absent": 0.2, "join": 0.3}
    schedule = make_schedule(environment=chance, scheduler=scheduler, fraction=0.7)
    endless = limited(schedule, np.inf, [0.9, 0.7, 0.2, 0.4], spending=spending)
    for (free, plan), (state, other) in zip(play(schedule, ROUNDS), play(endless, ROUNDS), strict=True):
        assert_same(replace(other, rested=None, exposure_P=plan.exposure_P), plan)
        assert_same(replace(state, exposure_K=free.exposure_K), free)
        assert other.rested is not None
        assert not len(other.rested)


LEVELS = [0.9, 0.6, 0.3, 0.2]


@pytest.mark.parametrize("scheduler", [Dynamic(), Efficient(), LastValue(), Oracle(), StaticProfile()])
def test_a_paced_budget_that_can_last_lets_all_take_part_in_all_rounds(make_schedule: MakeSchedule, scheduler):
    for most in (ROUNDS * 0.2, ROUNDS * 0.35, ROUNDS * 0.7):
        schedule = limited(make_schedule(scheduler=scheduler), most, LEVELS)
        plans = [plan for _, plan in until_spent(schedule)]
        assert [len(plan.clients_P) for plan in plans] == [10] * ROUNDS


def test_a_greedy_client_rests_when_it_has_spent_its_budget_and_the_run_ends_when_all_have(make_schedule: MakeSchedule):
    schedule = limited(make_schedule(scheduler=Static(1)), 2.0, LEVELS, spending="greedy")
    plans = [plan for _, plan in until_spent(schedule)]
    # Twice tier 1 for 0.9 each, then once tier 4 for the 0.2 that are left.
    assert [plan.tiers_P.tolist() for plan in plans] == [[1] * 10, [1] * 10, [4] * 10]
    for most, rests in ((2.0, 0), (1.0, 10)):
        _, plan = schedule_round(ScheduleState.start(schedule), limited(schedule, most, [1.5] * 4), 1)
        assert plan.rested is not None
        assert len(plan.rested) == rests
        assert plan.round_time_s == 0 or not rests


def time_of(schedule: ScheduleSettings, rounds: int) -> float:
    return list(until_spent(schedule, rounds))[-1][0].clock.now_s


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([1.0, 0.8, 0.6, 0.4]), min_size=3, max_size=3), st.integers(1, 12), st.integers(0, 100))
def test_a_larger_budget_never_makes_a_run_longer_by_more_than_a_round(make_schedule, shallow, rounds, seed):
    """Where nothing changes. A round is no part of one: what is left of a budget for less than a whole one is lost."""
    schedule = make_schedule(environment={"seed": seed}, first_tier="shallowest", scheduler=Oracle())
    leakage = [*sorted(shallow, reverse=True), 0.2]
    times = [
        time_of(limited(schedule, most, leakage, rounds=rounds), rounds)
        for most in np.linspace(rounds * 0.2, rounds, 8)
    ]
    a_round = time_of(limited(schedule, rounds * 0.2, leakage, rounds=rounds), rounds) / rounds
    for number, shorter in enumerate(times):
        assert all(longer <= shorter + a_round + 1e-9 for longer in times[number:])
    assert times[-1] == pytest.approx(list(play(schedule, rounds))[-1][0].clock.now_s)


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example([0.9, 0.88, 0.8, 0.2], 0.79, 0)  # where the tiers between are no bargain
@given(leakages, st.floats(0.1, 0.9), st.integers(0, 100))
def test_paced_rounds_are_as_short_as_any_mixture_of_limits_permits(make_schedule, leakage, wealth, seed):
    """Where nothing changes and times are known: by a linear program over all limits, but for a part of a round."""
    rounds = 20
    schedule = make_schedule(environment={"seed": seed}, scheduler=Oracle())
    times_MK = [next(play(replace(schedule, scheduler=Static(m)), 1))[1].client_time_s_P.tolist() for m in (1, 2, 3, 4)]
    possible = max(min(of_client) for of_client in zip(*times_MK, strict=True))
    limits = sorted({seconds for of_tier in times_MK for seconds in of_tier if seconds >= possible})

    def price(client: int, limit: float) -> float:
        return min(cost for cost, of_tier in zip(leakage, times_MK, strict=True) if of_tier[client] <= limit)

    most = rounds * (min(leakage) + wealth * (max(leakage) - min(leakage)))
    prices = [[price(client, limit) for limit in limits] for client in range(10)]
    one = [[1.0] * len(limits)]
    optimum_s = rounds * linprog(limits, A_ub=prices, b_ub=[most / rounds] * 10, A_eq=one, b_eq=[1.0]).fun
    taken_s = time_of(limited(schedule, most, leakage, rounds=rounds), rounds)
    assert optimum_s * (1 - 1e-9) <= taken_s <= 1.02 * optimum_s + max(limits)


@pytest.mark.parametrize("scheduler", [Dynamic(), Efficient(), Oracle()])
def test_a_scheduler_that_looks_names_open_tiers_only(make_schedule: MakeSchedule, scheduler, monkeypatch):
    """By itself: what corrects others has nothing to do."""
    monkeypatch.setattr(tier_assignment, "_nearest_open", lambda tiers_P, *_: tiers_P)
    schedule = limited(make_schedule(scheduler=scheduler), 0.35 * ROUNDS, LEVELS)
    for state, _ in until_spent(schedule):
        assert state.exposure_K.max() <= 0.35 * ROUNDS * (1 + SLACK)
