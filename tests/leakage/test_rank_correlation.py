"""Spearman's rank correlation: its value, and how often its interval contains the truth."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from dtfl_private.leakage.rank_correlation import combined_rank_correlation, rank_correlation


def test_the_value_is_spearman_s():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=20), rng.integers(4, size=20)
    found = rank_correlation(first, second.astype(float))
    assert found.value == pytest.approx(spearmanr(first, second).statistic)
    assert found.low < found.value < found.high


def test_intervals_contain_the_truth():
    """Of 500 pairs of normal samples with Spearman's rho 0.6: 92 to 98 % of intervals (false alarm 1 in 500)."""
    rho = 2 * np.sin(np.pi * 0.6 / 6)
    rng = np.random.default_rng(1)
    held = []
    for _ in range(500):
        first = rng.normal(size=15)
        found = rank_correlation(first, rho * first + np.sqrt(1 - rho**2) * rng.normal(size=15))
        held.append(found.low <= 0.6 <= found.high)
    assert 0.92 <= np.mean(held) <= 0.98


def test_perfect_order_has_an_interval_within_its_limits():
    found = rank_correlation(np.arange(10.0), np.arange(10.0) ** 3)
    assert found.value == pytest.approx(1.0)
    assert 0.5 < found.low < found.high <= 1.0


@pytest.mark.parametrize("pairs", [4, 1])
def test_too_few_pairs_say_nothing(pairs):
    assert rank_correlation(np.arange(float(pairs)), np.arange(float(pairs))) is None


def test_what_does_not_vary_says_nothing():
    assert rank_correlation(np.arange(9.0), np.full(9, 2.0)) is None


def test_pairs_are_needed():
    with pytest.raises(ValueError, match="pairs are needed"):
        rank_correlation(np.arange(9.0), np.arange(8.0))


def test_what_sets_groups_apart_counts_for_nothing():
    """Within each group there is no order in common; between the groups everything rises."""
    rng = np.random.default_rng(2)
    groups = [(level + rng.normal(size=12), level + rng.normal(size=12)) for level in (0.0, 100.0, 200.0)]
    pooled = rank_correlation(*(np.concatenate(column) for column in zip(*groups, strict=True)))
    found = combined_rank_correlation(groups)
    assert pooled.low > 0.6
    assert found.low < 0 < found.high


def test_one_group_is_the_correlation_itself_and_groups_that_say_nothing_are_left_out():
    rng = np.random.default_rng(3)
    pair = rng.normal(size=9), rng.normal(size=9)
    constant, few = (np.ones(9), pair[1]), (pair[0][:4], pair[1][:4])
    assert combined_rank_correlation([pair, constant, few]) == rank_correlation(*pair)
    assert combined_rank_correlation([constant, few]) is None


def test_intervals_of_several_groups_hold_where_there_is_no_correlation():
    """Of 500 times seven groups of ten pairs: 2 to 8 % are apart from 0 (false alarm 1 in 500)."""
    rng = np.random.default_rng(4)
    found = [combined_rank_correlation([tuple(rng.normal(size=(2, 10))) for _ in range(7)]) for _ in range(500)]
    assert 0.02 <= np.mean([one.low > 0 or one.high < 0 for one in found]) <= 0.08
    assert np.mean([one.high - one.low for one in found]) < 0.6
