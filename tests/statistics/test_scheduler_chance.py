"""Chance in the choice of tiers. The draws are seeded: a test fails always or never.

The bound is five standard deviations wide: a right implementation with another stream would fail in one of the seven
tiers with probability 4e-6.
"""

import math

import numpy as np

from dtfl_private.protocol.contracts import TierChoice
from dtfl_private.simulation.schedulers.baseline_schedulers import Random

TIERS = np.arange(1, 8)
DRAWS = 70_000


def plausibly_uniform(counts: list[int]) -> bool:
    rate = 1 / len(counts)
    bound = 5 * math.sqrt(sum(counts) * rate * (1 - rate))
    return max(abs(count - sum(counts) * rate) for count in counts) <= bound


def test_random_tiers_are_uniform():
    unestimated = TierChoice(times_s_KM=np.zeros((DRAWS, len(TIERS))), tiers_M=TIERS)
    tiers = Random().assign(unestimated, np.random.default_rng(5))
    assert plausibly_uniform(np.bincount(tiers, minlength=8)[1:].tolist())


def test_the_check_rejects_one_tier_in_a_tenth_more_of_the_draws():
    weights = np.array([1.1, 1, 1, 1, 1, 1, 1])
    skewed = np.random.default_rng(5).choice(TIERS, size=DRAWS, p=weights / weights.sum())
    assert not plausibly_uniform(np.bincount(skewed, minlength=8)[1:].tolist())
