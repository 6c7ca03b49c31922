"""The bound against closed forms, and against the probabilities of a mechanism that attains it."""

import math

import pytest
from scipy.stats import binom

from dtfl_private.privacy.one_run import epsilon_ceiling, epsilon_lower_bound, guess_probability


@pytest.mark.parametrize("canaries", [10, 100, 1000])
def test_the_ceiling_is_a_closed_form_without_delta(canaries):
    """All guesses are right with probability q^m: q = 0.05^(1/m), epsilon its log-odds."""
    q = 0.05 ** (1 / canaries)
    assert epsilon_ceiling(canaries, 0.0) == pytest.approx(math.log(q / (1 - q)), abs=2e-5)


def test_the_ceiling_of_a_thousand_canaries_is_5_8():
    assert epsilon_ceiling(1000, 0.0) == pytest.approx(5.81, abs=0.005)
    assert 5.7 < epsilon_ceiling(1000, 1e-5) < epsilon_ceiling(1000, 0.0)


def test_without_delta_it_is_the_tail_of_randomised_response():
    q = math.e**0.7 / (1 + math.e**0.7)
    tail = sum(math.comb(20, k) * q**k * (1 - q) ** (20 - k) for k in range(16, 21))
    assert guess_probability(50, 20, 16, 0.7, 0.0) == pytest.approx(tail)


def test_delta_adds_its_term():
    """2 m delta times the steepest mean step of the tail below v, summed here by hand."""
    epsilon, delta, m, r, v = 0.7, 1e-3, 50, 20, 16
    q = 1 / (1 + math.exp(-epsilon))
    steps, total = [], 0.0
    for i in range(1, v + 1):
        total += binom.pmf(v - i, r, q)
        steps.append(total / i)
    expected = binom.sf(v - 1, r, q) + 2 * m * delta * max(steps)
    assert guess_probability(m, r, v, epsilon, delta) == pytest.approx(expected)
    assert epsilon_lower_bound(m, r, v, delta) < epsilon_lower_bound(m, r, v, 0.0)


def test_the_bound_is_where_the_probability_is_5_percent():
    bound = epsilon_lower_bound(200, 100, 90, 1e-5)
    assert guess_probability(200, 100, 90, bound, 1e-5) == pytest.approx(0.05, abs=1e-4)
    assert guess_probability(200, 100, 90, bound, 1e-5) < 0.05


@pytest.mark.parametrize(("guesses", "right"), [(100, 50), (100, 0), (0, 0), (1, 1)])
def test_guesses_as_good_as_chance_prove_nothing(guesses, right):
    assert epsilon_lower_bound(100, guesses, right, 1e-5) == 0


def test_more_right_guesses_prove_more():
    bounds = [epsilon_lower_bound(100, 100, right, 1e-5) for right in range(60, 101, 10)]
    assert bounds == sorted(bounds)
    assert bounds[0] < bounds[-1]


@pytest.mark.parametrize(("canaries", "guesses", "right"), [(10, 11, 5), (10, 5, 6), (10, 5, -1)])
def test_impossible_counts_are_refused(canaries, guesses, right):
    with pytest.raises(ValueError, match="cannot be"):
        guess_probability(canaries, guesses, right, 1.0, 0.0)
