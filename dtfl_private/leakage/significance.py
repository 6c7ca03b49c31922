"""How sure it is that an attack is better than a trivial guess: one-sided p-values, made for very small levels.

An audit makes many tests, so each must be right at very small levels, where the quantiles of a few thousand bootstrap
draws say nothing. All tests here are of chance over victims, with the repetitions of an attack as they are: if the
smashed data say nothing, no repetition is better than the guess on average, whatever its seed. How far other
repetitions may lie is for the intervals of `dtfl_private.leakage.intervals`.

Scores are (S, N): of N victims under S repetitions that differ; see `distinct`. The guess is scored on the same
victims, and the test is of the differences, victim by victim. Which of several guesses is best is not known
beforehand: an attack must beat each of them, so the largest p-value counts. That makes an audit careful, and needs no
correction (Berger 1982, Technometrics 24(4): the intersection-union test).

How often each test is wrong at the level of 5e-5, where nothing leaks: `tests/statistics/test_significance_chance.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from dtfl_private.leakage.intervals import Interval, difference_interval, with_share_bound
from dtfl_private.leakage.metrics import Metric
from dtfl_private.protocol.contracts import FloatArray

FALSE_ALARM_RATE = 0.05
"""Of a whole audit in which nothing leaks, with `TESTS` tests or fewer."""

TESTS = 1000
LEVEL = FALSE_ALARM_RATE / TESTS
"""Of each test: always the same, so that no result can take another one's significance away (Bonferroni, with a number
of tests that is fixed before there is any result). Quick audits make about 20 tests at each tier, thorough ones 60."""

ROUNDING = 1e-9
"""Differences that vary by no more than this share of their mean are equal but for rounding."""


@dataclass(frozen=True, kw_only=True)
class Advantage:
    """By how much an attack is beyond the best trivial guess; above 0 it exposes more.

    Attributes:
        found: the difference and its 95 % interval.
        p_value: the probability of so large a difference, or a larger one, if the attack were no better than the guess.
    """

    found: Interval
    p_value: float


def distinct(guesses: Sequence[Tensor]) -> list[int]:
    """Return the places of the repetitions that differ: of equal guesses, as a deterministic attack makes, the first.

    Counted as repetitions, equal ones would make a result look surer than it is.
    """
    kept: list[int] = []
    for place, guess in enumerate(guesses):
        if not any(guess.shape == guesses[other].shape and bool((guess == guesses[other]).all()) for other in kept):
            kept.append(place)
    return kept


def paired_advantage(
    metric: Metric, scores_SN: FloatArray, guesses: Mapping[str, FloatArray], best: str, rng: np.random.Generator
) -> Advantage:
    """Return the advantage over the best of some guesses, and the p-value against each of them.

    Args:
        metric: of the scores; says whether high or low ones expose.
        scores_SN: of the attack.
        guesses: scores (N,) of each trivial guess on the same victims, by name.
        best: name of the guess that is shown.
        rng: stream of the interval's draws.
    """
    sign = 1 if metric.exposing == "high" else -1
    differences = {name: sign * (scores_SN - guess_N) for name, guess_N in guesses.items()}
    test = shares_p_value if metric.share else mean_p_value
    found = difference_interval(sign * scores_SN, np.broadcast_to(sign * guesses[best], scores_SN.shape), rng)
    if metric.share:
        found = bounded_difference(found, scores_SN.shape[1])
    return Advantage(found=found, p_value=max(float(test(difference)) for difference in differences.values()))


def bounded_difference(found: Interval, count: int) -> Interval:
    """Return the interval of a difference of shares, with the exact bound where all victims differ alike by 1."""
    half = Interval(value=(1 + found.value) / 2, low=(1 + found.low) / 2, high=(1 + found.high) / 2)
    half = with_share_bound(half, count)
    return Interval(value=2 * half.value - 1, low=2 * half.low - 1, high=2 * half.high - 1)


def mean_p_value(differences_SN: FloatArray) -> FloatArray:
    """Return the p-value of the mean difference over victims being 0 or less, for ``(..., S, N)``.

    Student's t over victims, of each victim's mean over the repetitions, made smaller where differences are skewed to
    the left: there few victims speak against the attack, and a sample may miss them (the cubic transformation of
    Hall 1992, Journal of the Royal Statistical Society B 54, with its correction for the mean; where that would end
    at a third of t, it stays there). Skewed to the right, t is careful by itself and stays as it is. Rank tests would
    ask about medians, while what is reported are means; permutations can hardly reach levels as small as `LEVEL`.
    It is never below that of a sign test in which all victims agree: fewer than 15 never reach `LEVEL`. One victim
    proves nothing: 1. No test of a mean holds whatever the differences may be: of rare victims on which the attack is
    far worse, a sample may have none.
    """
    from scipy.special import stdtr  # scipy takes a while to load

    difference_N = differences_SN.mean(axis=-2)
    count = difference_N.shape[-1]
    mean = difference_N.mean(axis=-1)
    spread = difference_N.std(axis=-1)
    if count < 2:
        return np.ones_like(mean)
    moves = spread > ROUNDING * np.abs(mean)
    scale = np.where(moves, spread, 1.0)
    student = mean / scale * np.sqrt(count - 1)
    deviation_N = (difference_N - mean[..., None]) / scale[..., None]
    skewness = (deviation_N * deviation_N * deviation_N).mean(axis=-1)
    left = np.minimum(skewness, 0.0)
    bent = np.clip(-left * student / (3 * np.sqrt(count)), 0.0, 1.0)
    corrected = student * (1 - bent + bent**2 / 3) + left / (6 * np.sqrt(count))
    p = np.where(moves, stdtr(count - 1, -corrected), np.where(mean > 0, 0.0, 1.0))
    # Few victims cannot be surer than as many tosses of a coin, however alike their differences are.
    return np.asarray(np.maximum(p, 0.5**count))


def shares_p_value(differences_SN: FloatArray) -> FloatArray:
    """Return the p-value of the attack being right no more often than the guess, for ``(..., S, N)``.

    The exact test of McNemar 1947 in each repetition: among the victims at which just one of the two is right, either
    is as likely. Several repetitions: see `together`.
    """
    from scipy.special import bdtrc  # scipy takes a while to load

    better_S = (differences_SN > 0).sum(axis=-1)
    unequal_S = better_S + (differences_SN < 0).sum(axis=-1)
    # bdtrc(k, n, p) = P[Binomial(n, p) > k]; with k = -1 or n = 0 it is no probability.
    p_S = np.where(better_S > 0, bdtrc(np.maximum(better_S - 1, 0), np.maximum(unequal_S, 1), 0.5), 1.0)
    return together(p_S)


def auc_p_value(members_SM: FloatArray, nonmembers_SK: FloatArray) -> float:
    """Return the p-value of scores that say nothing about membership having so high a mean AUC, or a higher one.

    By permutation: who is a member is then drawn from the candidates by chance. The mean AUC of several repetitions is
    the Mann-Whitney statistic of the candidates' mean ranks, whose mean and variance over all permutations are known
    exactly, ties and all; its distribution is taken as normal, whose tail is the heavier one far out, where an audit
    asks. Candidates with as many
    members as non-members in each class vary less than that: the p-value is then careful.
    """
    from scipy.special import ndtr  # scipy takes a while to load
    from scipy.stats import rankdata

    members, others = members_SM.shape[1], nonmembers_SK.shape[1]
    count = members + others
    rank_N = rankdata(np.concatenate([members_SM, nonmembers_SK], axis=1), axis=1).mean(axis=0)
    above = float(rank_N[:members].sum() - members * (count + 1) / 2)
    variance = members * others / count * float(rank_N.var(ddof=1))
    return float(ndtr(-above / np.sqrt(variance))) if variance > 0 else 1.0


def tpr_p_value(members_SM: FloatArray, nonmembers_SK: FloatArray, fpr: float) -> float:
    """Return the p-value of scores that say nothing finding so many members at this false-positive rate, or more.

    Exact, by permutation. With f false alarms allowed, v members or more are found if and only if v or more of the
    v + f highest scores are members', which is hypergeometric. Ties, which the rate does not make use of, only make
    the p-value larger than need be.
    """
    from scipy.stats import hypergeom  # scipy takes a while to load

    members, others = members_SM.shape[1], nonmembers_SK.shape[1]
    allowed = int(fpr * others * (1 + 1e-9))
    # The highest score among non-members that must not be reached; without any, all members may be found.
    barrier_S = np.sort(nonmembers_SK, axis=1)[:, others - 1 - allowed]
    found_S = (members_SM > barrier_S[:, None]).sum(axis=1)
    p_S = hypergeom.sf(found_S - 1, members + others, members, np.minimum(found_S + allowed, members + others))
    return float(together(np.asarray(p_S)))


def together(p_S: FloatArray) -> FloatArray:
    """Return the p-value of S repetitions ``(..., S)`` together: twice their mean, which holds however they depend.

    Rüschendorf 1982 (Advances in Applied Probability 14): they share their victims, so they are not independent. One
    repetition keeps its own.
    """
    return p_S[..., 0] if p_S.shape[-1] == 1 else np.minimum(1.0, 2 * p_S.mean(axis=-1))
