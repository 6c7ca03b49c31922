"""Chance in the environment. The draws are seeded: a test fails always or never.

The bounds are five standard deviations wide, so that a right implementation with another stream would fail with
probability 6e-7 per bound. Each check is shown to reject a value that is wrong by a tenth.
"""

import math

import numpy as np
from numpy.typing import NDArray

from dtfl_private.simulation.clients.conditions import (
    EnvironmentSettings,
    EnvironmentState,
    advance,
    conditions,
    initial_state,
    slowness,
)
from dtfl_private.simulation.clients.profiles import PROFILE_SETS, ResourceProfile

SIGMAS = 5
UNIFORM = PROFILE_SETS["uniform"]


def plausible_rate(hits: int, trials: int, rate: float) -> bool:
    return abs(hits - trials * rate) <= SIGMAS * math.sqrt(trials * rate * (1 - rate))


def plausible_noise(log_factors: NDArray[np.float64], noise: float) -> bool:
    """Normal theory: the deviation's error is noise/sqrt(2n), the median's sqrt(pi/2) noise/sqrt(n)."""
    count = len(log_factors)
    deviation_fits = abs(log_factors.std() - noise) <= SIGMAS * noise / math.sqrt(2 * count)
    median_fits = abs(np.median(log_factors)) <= SIGMAS * math.sqrt(math.pi / 2) * noise / math.sqrt(count)
    return bool(deviation_fits and median_fits)


def test_noise_is_log_normal_with_median_one_and_independent_for_processor_and_link():
    settings = EnvironmentSettings(clients=20_000, profiles=UNIFORM, noise=0.3)
    truth = conditions(initial_state(settings), settings, 7)
    processor = np.log(truth.cpus_K / UNIFORM[0].cpus)
    link = np.log(truth.up_bytes_s_K / (UNIFORM[0].up_mbit_s * 125_000))
    for log_factors in (processor, link):
        assert plausible_noise(log_factors, 0.3)
        assert not plausible_noise(1.1 * log_factors, 0.3)
        assert not plausible_noise(0.9 * log_factors, 0.3)
        assert not plausible_noise(log_factors + math.log(1.1), 0.3)
    assert abs(np.corrcoef(processor, link)[0, 1]) <= SIGMAS / math.sqrt(20_000)


def test_clients_leave_and_join_at_their_rates():
    settings = EnvironmentSettings(clients=80_000, profiles=UNIFORM, absent=0.5, leave=0.2, join=0.3)
    old = initial_state(settings)
    new = advance(old, settings, 2)
    left = int((old.present_K & ~new.present_K).sum())
    joined = int((~old.present_K & new.present_K).sum())
    assert plausible_rate(left, 40_000, 0.2)
    assert plausible_rate(joined, 40_000, 0.3)
    for wrong in (0.9, 1.1):
        assert not plausible_rate(left, 40_000, 0.2 * wrong)
        assert not plausible_rate(joined, 40_000, 0.3 * wrong)


def test_drift_draws_profiles_by_their_shares():
    kinds = tuple(
        ResourceProfile(name=name, cpus=1, up_mbit_s=1, down_mbit_s=1, share=share)
        for name, share in (("a", 5), ("b", 3), ("c", 2))
    )
    settings = EnvironmentSettings(clients=100_000, profiles=kinds, drift_share=1.0, drift_every=1)
    # All clients start with the first kind, so that only the redrawing can bring the shares about.
    start = EnvironmentState(
        profile_K=np.zeros(settings.clients, dtype=np.int64), present_K=np.ones(settings.clients, dtype=np.bool_)
    )
    drawn = np.bincount(advance(start, settings, 2).profile_K, minlength=3).tolist()
    for hits, rate in zip(drawn, (0.5, 0.3, 0.2), strict=True):
        assert plausible_rate(hits, settings.clients, rate)
        assert not plausible_rate(hits, settings.clients, 1.1 * rate)


def test_every_client_is_equally_likely_to_drift():
    settings = EnvironmentSettings(
        clients=10,
        profiles=tuple(UNIFORM[0].model_copy(update={"name": str(number)}) for number in range(2000)),
        drift_share=0.3,
        drift_every=1,
    )
    state = advance(initial_state(settings), settings, 1)
    drifts_K = np.zeros(10, dtype=np.int64)
    for number in range(2, 2002):
        new = advance(state, settings, number)
        drifts_K += new.profile_K != state.profile_K
        state = new
    # A redrawn client keeps its kind once in 2,000 draws: far below the bound.
    assert all(plausible_rate(hits, 2000, 0.3) for hits in drifts_K.tolist())
    assert drifts_K.sum() > 0.99 * 3 * 2000


def test_profile_errors_are_log_normal_with_mean_one_per_client_and_module():
    """Tier 1 holds one module alone; of tier 2, with equal MACs, both count half: the deviation falls by root two."""
    count, sigma = 20_000, 0.4
    settings = EnvironmentSettings(clients=count, profiles=UNIFORM, profile_error=sigma)
    slow_KM = slowness(settings, (7, 7), np.array([1, 2]))
    assert plausible_noise(np.log(slow_KM[:, 0]) + sigma**2 / 2, sigma)
    assert not plausible_noise(np.log(slow_KM[:, 0]), 1.1 * sigma)
    deviation = math.sqrt(math.expm1(sigma**2))  # of a log-normal with mean 1
    for tier, factor in ((0, 1.0), (1, math.sqrt(0.5))):
        mean_error = abs(slow_KM[:, tier].mean() - 1)
        assert mean_error <= SIGMAS * factor * deviation / math.sqrt(count)
    second = 2 * slow_KM[:, 1] - slow_KM[:, 0]
    assert plausible_noise(np.log(second) + sigma**2 / 2, sigma)
    assert abs(np.corrcoef(np.log(slow_KM[:, 0]), np.log(second))[0, 1]) <= SIGMAS / math.sqrt(count)
