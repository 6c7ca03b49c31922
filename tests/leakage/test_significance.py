"""p-values of known answers: exact tests by enumeration, and what must be found or must not."""

from itertools import combinations
from math import comb

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, mannwhitneyu, t, ttest_1samp

from dtfl_private.leakage.metrics import IDENTIFIABILITY, MSE, SSIM
from dtfl_private.leakage.significance import (
    LEVEL,
    auc_p_value,
    distinct,
    mean_p_value,
    paired_advantage,
    shares_p_value,
    together,
    tpr_p_value,
)
from dtfl_private.randomness import stream


@pytest.fixture
def rng():
    return stream(0, "significance")


def test_equal_guesses_are_one_repetition():
    one, other = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0])
    assert distinct([one, one.clone(), other, one]) == [0, 2]


def test_without_skewness_to_the_left_the_mean_has_student_s_p_value(rng):
    difference = rng.exponential(size=64) - 0.8
    expected = ttest_1samp(difference, 0, alternative="greater").pvalue
    assert mean_p_value(difference[None]) == pytest.approx(expected)
    assert mean_p_value(-difference[None]) > 1 - expected


def test_repetitions_that_say_the_same_change_nothing(rng):
    difference_N = rng.normal(0.3, 1, size=64)
    assert mean_p_value(np.stack([difference_N] * 3)) == pytest.approx(mean_p_value(difference_N[None]))


@pytest.mark.parametrize("share_near_0", [0.05, 0.1, 0.2, 0.4, 0.7])
def test_an_attack_that_is_better_on_64_of_64_victims_is_found_however_unevenly(share_near_0):
    near_0 = round(share_near_0 * 64)
    difference_N = np.concatenate([np.full(near_0, 1e-4), np.full(64 - near_0, 0.1)])
    assert mean_p_value(difference_N[None]) < LEVEL


def test_the_p_value_falls_as_the_attack_gets_better(rng):
    difference_N = 1 - rng.exponential(size=64)
    found = [float(mean_p_value((difference_N + shift)[None])) for shift in np.linspace(-1, 4, 60)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.99
    assert found[-1] < LEVEL


def test_skewness_to_the_left_takes_two_thirds_of_t_away_at_most():
    """By hand, of two values: skewness -1.5 where a fifth is low."""
    for low, count in ((-1.0, 20), (0.9, 20), (0.4, 40)):
        difference_N = np.where(np.arange(count) % 5 == 0, low, 1.0)
        student = difference_N.mean() / difference_N.std() * np.sqrt(count - 1)
        bent = min(1.0, 1.5 * student / (3 * np.sqrt(count)))
        corrected = student * (1 - bent + bent**2 / 3) - 1.5 / (6 * np.sqrt(count))
        assert mean_p_value(difference_N[None]) == pytest.approx(
            max(float(t.sf(corrected, count - 1)), 0.5**count), rel=1e-6
        )


def test_equal_differences_are_tosses_of_a_coin_and_one_victim_proves_nothing():
    assert mean_p_value(np.full((2, 8), 0.1)) == pytest.approx(0.5**8)
    assert mean_p_value(np.zeros((2, 8))) == mean_p_value(np.full((2, 8), -0.1)) == 1
    assert mean_p_value(np.ones((1, 1))) == 1


def test_shares_have_mcnemar_s_exact_p_value():
    difference_N = np.array([1.0] * 9 + [-1.0] * 2 + [0.0] * 20)
    expected = binomtest(9, 11, alternative="greater").pvalue
    assert shares_p_value(difference_N[None]) == pytest.approx(expected)
    assert shares_p_value(np.stack([difference_N] * 2)) == pytest.approx(2 * expected)
    assert shares_p_value(np.zeros((1, 5))) == 1
    assert shares_p_value(-np.ones((3, 5))) == 1


def test_p_values_of_repetitions_are_twice_their_mean():
    assert together(np.array([0.01, 0.03])) == pytest.approx(0.04)
    assert together(np.array([0.9, 0.8])) == 1
    assert together(np.array([0.3])) == 0.3


def test_the_auc_has_the_p_value_of_mann_and_whitney(rng):
    members, others = rng.normal(0.5, 1, size=60).round(1), rng.normal(size=70).round(1)
    expected = mannwhitneyu(members, others, alternative="greater", method="asymptotic", use_continuity=False).pvalue
    assert auc_p_value(members[None], others[None]) == pytest.approx(expected)
    assert auc_p_value(np.stack([members] * 3), np.stack([others] * 3)) == pytest.approx(expected)
    assert auc_p_value(np.ones((1, 5)), np.ones((1, 4))) == 1


@pytest.mark.parametrize("allowed", [0, 1])
def test_the_rate_at_few_false_alarms_has_its_exact_p_value(allowed):
    """By all ways to choose 4 members among 9 candidates with different scores."""
    fpr, scores = (allowed + 0.5) / 5, np.arange(9.0)
    found = []
    for members in combinations(range(9), 4):
        inside = np.isin(np.arange(9), members)
        barrier = np.sort(scores[~inside])[::-1][allowed]
        p = tpr_p_value(scores[inside][None], scores[~inside][None], fpr)
        found.append((int((scores[inside] > barrier).sum()), p))
    assert len(found) == comb(9, 4)
    for right, p in found:
        as_many = sum(other >= right for other, _ in found) / len(found)
        assert p == pytest.approx(as_many)


def test_ties_are_no_members_found():
    assert tpr_p_value(np.ones((1, 9)), np.ones((1, 9)), 0.01) == 1


def test_an_advantage_is_towards_what_exposes_and_against_each_of_the_guesses(rng):
    scores_SN = np.full((1, 64), 0.02) + 0.001 * rng.random((1, 64))
    guesses = {"easy": np.full(64, 0.09), "hard": 0.0302 + 0.001 * rng.random(64)}
    found = paired_advantage(MSE, scores_SN, guesses, "hard", rng)
    assert found.found.low <= found.found.value == pytest.approx(0.0102, abs=3e-4)
    assert found.found.high < 0.02
    assert found.p_value < LEVEL
    guesses["one that cannot be beaten"] = scores_SN[0] - 0.001
    assert paired_advantage(MSE, scores_SN, guesses, "hard", rng).p_value > 0.99


def test_a_steady_advantage_is_seen_through_victims_that_differ_far_more(rng):
    """The interval of the mean covers the guess by far; each victim by itself is closer to the attack's image."""
    ease_N = rng.normal(0.5, 0.2, size=64)
    attack_SN = (ease_N + 0.01 + 0.002 * rng.normal(size=(3, 64))).clip(0, 1)
    found = paired_advantage(SSIM, attack_SN, {"guess": (ease_N).clip(0, 1)}, "guess", rng)
    assert found.p_value < LEVEL
    assert found.found.low > 0


def test_a_difference_in_all_victims_has_the_exact_bound(rng):
    found = paired_advantage(IDENTIFIABILITY, np.ones((1, 64)), {"guess": np.zeros(64)}, "guess", rng).found
    assert found.value == found.high == 1
    assert found.low == pytest.approx(1 - 2 * (1 - 0.025 ** (1 / 64)))
