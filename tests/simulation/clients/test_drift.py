import math
from dataclasses import replace

import numpy as np
import pytest

from dtfl_private.simulation.clients.conditions import (
    EnvironmentSettings,
    EnvironmentState,
    advance,
    conditions,
    initial_state,
)
from dtfl_private.simulation.clients.drift import between
from dtfl_private.simulation.clients.profiles import PROFILE_SETS, ResourceProfile

SLOW = ResourceProfile(name="slow", cpus=0.1, up_mbit_s=8, down_mbit_s=80, latency_ms=40)
FAST = ResourceProfile(name="fast", cpus=1.6, up_mbit_s=800, down_mbit_s=80, latency_ms=0)
KINDS = ("jumps", "ramps", "day-night")


def settings(drift: str, **changes: object) -> EnvironmentSettings:
    values = {"clients": 30, "profiles": PROFILE_SETS["paper"], "drift_share": 0.4, "drift_every": 5, "seed": 3}
    return EnvironmentSettings(**{**values, "drift": drift, **changes})  # type: ignore[arg-type]  # by name


def states(of: EnvironmentSettings, rounds: int) -> list[EnvironmentState]:
    """Return the states in each of so many rounds."""
    played, state = [], initial_state(of)
    for number in range(1, rounds + 1):
        state = advance(state, of, number)
        played.append(state)
    return played


def test_a_ramp_is_the_same_ratio_in_every_round_and_ends_where_a_jump_is_at_once():
    ramps, jumps = states(settings("ramps"), 21), states(settings("jumps"), 21)
    changed = 0
    for number, (ramp, jump) in enumerate(zip(ramps, jumps, strict=True), start=1):
        assert np.array_equal(ramp.profile_K, jump.profile_K)
        drawn_in = number - (number - 1) % 5
        before = jumps[drawn_in - 2] if drawn_in > 1 else jump
        done = (number - drawn_in + 1) / 5
        got = conditions(ramp, settings("ramps"), number)
        for client in range(30):
            old, new = (PROFILE_SETS["paper"][int(one.profile_K[client])] for one in (before, jump))
            changed += old != new
            assert got.cpus_K[client] == pytest.approx(
                math.exp((1 - done) * math.log(old.cpus) + done * math.log(new.cpus))
            )
            by_hand = old.up_mbit_s ** (1 - done) * new.up_mbit_s**done / 8 * 1e6
            assert got.up_bytes_s_K[client] == pytest.approx(by_hand)
        if done == 1:
            assert np.array_equal(got.cpus_K, conditions(jump, settings("jumps"), number).cpus_K)
    assert changed > 100


def test_ramps_over_one_round_are_jumps():
    ramps, jumps = settings("ramps", drift_every=1), settings("jumps", drift_every=1)
    for number, (ramp, jump) in enumerate(zip(states(ramps, 8), states(jumps, 8), strict=True), start=1):
        assert np.array_equal(conditions(ramp, ramps, number).cpus_K, conditions(jump, jumps, number).cpus_K)


def test_days_and_nights_come_back_after_a_period_and_only_to_the_same_clients():
    swings = settings("day-night", drift_every=6)
    played = states(swings, 18)
    cpus_RK = np.array([conditions(state, swings, number).cpus_K for number, state in enumerate(played, start=1)])
    assert np.allclose(cpus_RK[:6], cpus_RK[6:12], rtol=1e-12)
    assert np.allclose(cpus_RK[:6], cpus_RK[12:], rtol=1e-12)
    moving = np.flatnonzero(np.ptp(cpus_RK, axis=0) > 0)
    # Twelve swing; those whose night has the profile of their day do not move.
    assert 4 <= len(moving) <= 12
    calm = conditions(played[0], settings("jumps"), 1).cpus_K
    for client in set(range(30)) - set(moving.tolist()):
        assert np.array_equal(cpus_RK[:, client], np.full(18, calm[client]))
    # Each has a phase of its own: with one phase, logarithms would all be the same curve.
    curves = np.log(cpus_RK[:6, moving] / calm[moving])
    assert np.linalg.matrix_rank(curves, tol=1e-6) > 1


def test_a_day_goes_by_the_cosine_of_its_hour():
    alone = settings("day-night", clients=1, profiles=(SLOW, FAST), drift_share=1.0, drift_every=8, seed=2)
    state = initial_state(alone)
    start = (SLOW, FAST)[int(state.profile_K[0])]
    logs = np.log([conditions(state, alone, number).cpus_K[0] / start.cpus for number in range(1, 9)])
    # (1 - cos) / 2 of the way: half a day apart the two ways add up to the whole one.
    whole = math.log((FAST if start is SLOW else SLOW).cpus / start.cpus)
    assert np.allclose(logs[:4] + logs[4:], whole)
    assert np.ptp(logs) > 0.9 * abs(whole)


def test_between_ends_at_both_profiles_exactly_and_latency_goes_linearly():
    speeds, ends = np.array([0.1, 0.7, 3.0]), (np.array([0, 1, 2, 1]), np.array([1, 2, 0, 1]))
    assert np.array_equal(between(speeds, *ends, 0.0), speeds[ends[0]])
    assert np.array_equal(between(speeds, *ends, 1.0), speeds[ends[1]])
    ramps = settings("ramps", clients=2, profiles=(SLOW, FAST), drift_every=4)
    state = EnvironmentState(profile_K=np.array([1, 0]), present_K=np.ones(2, dtype=bool), before_K=np.array([0, 0]))
    assert conditions(state, ramps, 5).latency_s_K.tolist() == [pytest.approx(0.03), 0.04]


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_share_nothing_drifts(kind: str):
    calm = settings(kind, drift_share=0.0)
    first = conditions(initial_state(calm), calm, 1)
    for number, state in enumerate(states(calm, 12), start=1):
        assert np.array_equal(conditions(state, calm, number).cpus_K, first.cpus_K)
        assert np.array_equal(conditions(state, calm, number).latency_s_K, first.latency_s_K)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_and_presence_do_not_depend_on_the_kind(kind: str):
    noisy = settings(kind, noise=0.3, leave=0.2, join=0.3)
    still, state = replace(noisy, noise=0.0), states(noisy, 7)[-1]
    factor_K = conditions(state, noisy, 7).cpus_K / conditions(state, still, 7).cpus_K
    jumps = replace(noisy, drift="jumps")
    other = states(jumps, 7)[-1]
    assert np.array_equal(other.present_K, state.present_K)
    assert np.allclose(
        factor_K, conditions(other, jumps, 7).cpus_K / conditions(other, replace(jumps, noise=0.0), 7).cpus_K
    )
