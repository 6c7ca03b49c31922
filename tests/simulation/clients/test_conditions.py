from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from dtfl_private.simulation.clients.conditions import (
    EnvironmentSettings,
    EnvironmentState,
    advance,
    conditions,
    initial_state,
    slowness,
)
from dtfl_private.simulation.clients.profiles import PROFILE_SETS, ResourceProfile

PAPER = EnvironmentSettings(clients=10, profiles=PROFILE_SETS["paper"], seed=1)


def profile(name: str, share: float = 1.0) -> ResourceProfile:
    return ResourceProfile(name=name, cpus=2, up_mbit_s=8, down_mbit_s=80, latency_ms=25, share=share)


def rounds(settings: EnvironmentSettings, count: int) -> list[EnvironmentState]:
    """Return the states before the first round and in each of ``count`` rounds."""
    states = [initial_state(settings)]
    for number in range(1, count + 1):
        states.append(advance(states[-1], settings, number))
    return states


def test_ten_clients_get_each_paper_profile_twice_whatever_the_seed():
    for seed in range(20):
        state = initial_state(replace(PAPER, seed=seed))
        assert np.bincount(state.profile_K).tolist() == [2, 2, 2, 2, 2]


def test_profiles_are_dealt_to_random_clients():
    dealt = {tuple(initial_state(replace(PAPER, seed=seed)).profile_K.tolist()) for seed in range(20)}
    assert len(dealt) == 20


@pytest.mark.parametrize("clients", [1, 3, 7, 100, 1001])
def test_uneven_shares_are_dealt_out_to_within_one_client(clients: int):
    settings = EnvironmentSettings(clients=clients, profiles=(profile("a", 5), profile("b", 1), profile("c", 2)))
    dealt = np.bincount(initial_state(settings).profile_K, minlength=3)
    assert dealt.sum() == clients
    assert np.abs(dealt - clients * np.array([5, 1, 2]) / 8).max() <= 1


def test_conditions_are_the_profiles_in_bytes_and_seconds():
    settings = EnvironmentSettings(clients=3, profiles=(profile("a"),))
    state = initial_state(settings)
    truth = conditions(state, settings, 1)
    assert truth.cpus_K.tolist() == [2, 2, 2]
    assert truth.up_bytes_s_K.tolist() == [1e6] * 3
    assert truth.down_bytes_s_K.tolist() == [1e7] * 3
    assert truth.latency_s_K.tolist() == [0.025] * 3


def test_each_client_has_the_resources_of_its_own_profile():
    state = initial_state(PAPER)
    truth = conditions(state, PAPER, 1)
    for client, kind in enumerate(state.profile_K.tolist()):
        assert truth.cpus_K[client] == (4, 2, 1, 0.2, 0.1)[kind]
        assert truth.up_bytes_s_K[client] == (100, 30, 30, 30, 10)[kind] * 125_000


def test_paper_reading_of_mbps_makes_links_exactly_eight_times_as_fast():
    mbit = conditions(initial_state(PAPER), PAPER, 1)
    mbyte = conditions(initial_state(PAPER), replace(PAPER, link_unit="mbyte"), 1)
    assert np.array_equal(mbyte.up_bytes_s_K, 8 * mbit.up_bytes_s_K)
    assert np.array_equal(mbyte.down_bytes_s_K, 8 * mbit.down_bytes_s_K)
    assert np.array_equal(mbyte.cpus_K, mbit.cpus_K)


def test_without_chance_nothing_changes_between_rounds():
    first, *later = rounds(PAPER, 5)
    for number, state in enumerate(later, start=1):
        assert np.array_equal(state.profile_K, first.profile_K)
        assert state.present_K.all()
        assert np.array_equal(conditions(state, PAPER, number).cpus_K, conditions(first, PAPER, 1).cpus_K)


@pytest.mark.parametrize(("share", "changed"), [(0.3, 6), (0.33, 7), (1.0, 20), (0.01, 0), (0.0, 0)])
def test_drift_redraws_the_share_of_clients_in_its_rounds_and_in_no_other(share: float, changed: int):
    # With 20,000 kinds of devices a client that draws again gets another kind, but for one draw in 20,000; at this
    # seed none of the 2 x 20 at most does.
    kinds = tuple(profile(str(number)) for number in range(20_000))
    settings = EnvironmentSettings(clients=20, profiles=kinds, drift_share=share, drift_every=5, seed=2)
    states = rounds(settings, 13)
    redrawn = [int((new.profile_K != old.profile_K).sum()) for old, new in pairwise(states)]
    assert redrawn == [changed if number in (6, 11) else 0 for number in range(1, 14)]


def test_drift_chooses_other_clients_each_time():
    kinds = tuple(profile(str(number)) for number in range(20_000))
    settings = EnvironmentSettings(clients=20, profiles=kinds, drift_share=0.3, drift_every=1, seed=2)
    states = rounds(settings, 6)
    chosen = {tuple(np.flatnonzero(new.profile_K != old.profile_K)) for old, new in pairwise(states[1:])}
    assert len(chosen) == 5


@pytest.mark.parametrize(("absent", "present"), [(0.0, 10), (0.3, 7), (0.95, 1), (1.0, 1)])
def test_absent_share_is_exact_at_the_start_but_for_one_client_at_least(absent: float, present: int):
    assert initial_state(replace(PAPER, absent=absent)).present_K.sum() == present


@pytest.mark.parametrize("clients", [1, 2, 10])
def test_never_is_the_last_client_gone(clients: int):
    settings = replace(PAPER, clients=clients, leave=1.0)
    for state in rounds(settings, 20)[2:]:
        assert state.present_K.sum() == 1


def test_absent_clients_stay_away_when_none_joins_and_all_come_when_all_join():
    away = rounds(replace(PAPER, absent=0.5), 10)
    assert all(np.array_equal(state.present_K, away[0].present_K) for state in away)
    back = rounds(replace(PAPER, absent=0.5, join=1.0), 3)
    assert [int(state.present_K.sum()) for state in back] == [5, 5, 10, 10]


def test_noise_differs_between_clients_rounds_and_between_processor_and_link():
    settings = EnvironmentSettings(clients=50, profiles=PROFILE_SETS["uniform"], noise=0.2)
    state = initial_state(settings)
    first, second = conditions(state, settings, 1), conditions(state, settings, 2)
    factors = [first.cpus_K, second.cpus_K, first.up_bytes_s_K / 3.75e6, second.up_bytes_s_K / 3.75e6]
    assert len(set(np.concatenate(factors).tolist())) == 200
    assert np.allclose(first.up_bytes_s_K, first.down_bytes_s_K, rtol=1e-15)


def test_advance_and_conditions_are_pure():
    settings = replace(PAPER, drift_share=0.5, drift_every=1, leave=0.3, join=0.5, noise=0.3)
    state = advance(initial_state(settings), settings, 1)
    before = (state.profile_K.copy(), state.present_K.copy())
    once, twice = advance(state, settings, 2), advance(state, settings, 2)
    assert np.array_equal(once.profile_K, twice.profile_K)
    assert np.array_equal(once.present_K, twice.present_K)
    assert np.array_equal(conditions(once, settings, 2).cpus_K, conditions(twice, settings, 2).cpus_K)
    assert not np.array_equal(once.profile_K, before[0])
    assert np.array_equal(state.profile_K, before[0])
    assert np.array_equal(state.present_K, before[1])


def test_with_right_profiles_nobody_is_slower_than_they_say():
    settings = EnvironmentSettings(clients=3, profiles=PAPER.profiles, noise=0.3)
    assert np.array_equal(slowness(settings, (), np.array([1, 4])), np.ones((3, 2)))


def test_slowness_is_the_mean_of_the_modules_held_weighted_by_macs():
    settings = EnvironmentSettings(clients=500, profiles=PAPER.profiles, profile_error=0.5, seed=1)
    macs, tiers = (0, 10, 30, 60), np.array([1, 2, 3, 4])
    slow_KM = slowness(settings, macs, tiers)
    # A first module without MACs, as one that looks tokens up has, is a tier all the same.
    assert (slow_KM > 0).all()
    # More modules take more time on every device, whatever the device is bad at.
    assert (np.diff(slow_KM * np.cumsum(np.maximum(macs, 1)), axis=1) > 0).all()
    # What a client is slow at depends neither on which tiers are asked for nor on the round or on the noise.
    assert np.array_equal(slowness(settings, macs, np.array([2, 4])), slow_KM[:, [1, 3]])
    assert not np.array_equal(slowness(replace(settings, seed=2), macs, tiers), slow_KM)
    with pytest.raises(ValueError, match="MACs of 2 modules given, tier 4 holds more"):
        slowness(settings, (1, 2), tiers)
