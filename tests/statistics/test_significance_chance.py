"""Chance in verdicts: how often a test, and a whole audit, finds a leak where there is none.

Each test draws from a fixed stream. Its rate of false alarms is that over streams, if the code is right.
"""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks.false_alarms import is_alarm, is_uncorrected_alarm, null_audit
from dtfl_private.leakage.significance import FALSE_ALARM_RATE, LEVEL, TESTS, auc_p_value, mean_p_value, shares_p_value
from dtfl_private.protocol.contracts import FloatArray
from dtfl_private.randomness import stream
from dtfl_private.verdicts import verdict
from dtfl_private.verdicts.verdict import chance

FALSE_ALARM = 1e-6
AUDITS = 60
MOST_ALARMS = binom.ppf(1 - FALSE_ALARM, AUDITS, FALSE_ALARM_RATE)


@pytest.fixture(scope="module")
def nothing():
    """Audits in which nothing leaks."""
    rng = stream(0, "false alarms")
    return [null_audit(rng) for _ in range(AUDITS)]


def test_an_audit_in_which_nothing_leaks_has_a_false_alarm_in_5_percent_at_most(nothing):
    """Of 60, 13 or fewer, were it 5 %; this test is wrong with probability 1e-6, or less as the true rate is lower."""
    assert max(chance(results).tests for results in nothing) <= TESTS
    assert sum(map(is_alarm, nothing)) <= MOST_ALARMS


def test_what_takes_no_account_of_the_number_of_tests_would_be_noticed(nothing, monkeypatch):
    assert sum(map(is_uncorrected_alarm, nothing)) > MOST_ALARMS
    monkeypatch.setattr(verdict, "LEVEL", FALSE_ALARM_RATE)
    assert sum(map(is_alarm, nothing)) > MOST_ALARMS


def symmetric(rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
    return np.asarray(rng.lognormal(size=shape) - rng.lognormal(size=shape))


DIFFERENCES: dict[str, tuple[Callable[[np.random.Generator, tuple[int, ...]], FloatArray], float]] = {
    # Mean 0 each. How often the p-value is LEVEL or less, in multiples of LEVEL, at most: 1 is what it should be. Of
    # 800,000 simulations each: 0.9, 0.2, 0.2, 1.2, 2.2 and 3.4.
    "normal": (lambda rng, shape: rng.normal(size=shape), 1.5),
    "even": (lambda rng, shape: rng.random(shape) - 0.5, 1.5),
    "heavy tails": (symmetric, 1.5),
    "bounded above": (lambda rng, shape: rng.beta(4, 1, size=shape) - 0.8, 3),
    "skewed": (lambda rng, shape: 4 - rng.gamma(4, size=shape), 4),
    "very skewed": (lambda rng, shape: 1 - rng.exponential(size=shape), 6),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_the_mean_s_p_value_keeps_its_level_far_out_in_the_tail(name):
    """30,000 times 64 victims: 1.5 are expected at the level; false alarm 1e-6."""
    draw, multiple = DIFFERENCES[name]
    rng = stream(0, "tail", name)
    found = sum(int((mean_p_value(draw(rng, (3000, 1, 64))) <= LEVEL).sum()) for _ in range(10))
    assert found <= binom.ppf(1 - FALSE_ALARM, 30_000, multiple * LEVEL)


def test_student_s_t_alone_would_be_noticed_where_differences_are_very_skewed():
    from scipy.stats import ttest_1samp

    draw, multiple = DIFFERENCES["very skewed"]
    differences = draw(stream(0, "tail", "very skewed"), (30_000, 64))
    found = int((ttest_1samp(differences, 0, axis=1, alternative="greater").pvalue <= LEVEL).sum())
    assert found > binom.ppf(1 - FALSE_ALARM, 30_000, multiple * LEVEL)


def test_shares_of_three_repetitions_keep_every_level():
    """40,000 times; the exact test is careful: at 5 %, 1 % and 0.1 % no more often than that, false alarm 3e-6."""
    rng = stream(0, "shares")
    differences = (rng.random((40_000, 3, 64)) < 0.3).astype(float) - (rng.random((40_000, 1, 64)) < 0.3)
    p = shares_p_value(differences)
    for level in (0.05, 0.01, 0.001):
        assert (p <= level).sum() <= binom.ppf(1 - FALSE_ALARM, len(p), level)


def test_the_auc_of_scores_that_say_nothing_keeps_its_level():
    """2,000 times at 1 %, between the limits of a binomial; false alarm 2e-6."""
    rng = stream(0, "auc")
    p = np.array([auc_p_value(*rng.normal(size=(2, 3, 32))) for _ in range(2000)])
    low, high = binom.ppf([FALSE_ALARM, 1 - FALSE_ALARM], len(p), 0.01)
    assert low <= (p <= 0.01).sum() <= high
