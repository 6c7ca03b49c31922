"""Whether groups of records differ in a score beyond chance, which of them are above the rest, and by how much.

A score per record, a group per record. Two questions, one answer each:

    is there a difference?  The permutation test of equal groups (Fisher 1935; Good 2005, Permutation, Parametric and
                            Bootstrap Tests, chapter 3): records are dealt out to groups of the same sizes anew. Where
                            records do not depend on the group that holds them, its p-value is exact, whatever the
                            scores' distribution.
    which groups stand out? The one that is farthest from all others, up or down, by the largest standardised excess of
                            any group in each permutation (Westfall and Young 1993, Resampling-Based Multiple Testing,
                            section 2.6: max T); then, without it, the next one, until none is beyond chance: one odd
                            group makes no other one stand out.
    how large is it?        Means of few records scatter more than their groups do. Each group's mean is therefore
                            shrunk towards the mean of groups, by the normal model of random effects (Efron and Morris
                            1975, JASA 70) with a half-Cauchy prior on their deviation (Gelman 2006, Bayesian Analysis
                            1(3)), integrated numerically, so that intervals know that the deviation is not known.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dtfl_private.leakage.intervals import LEVEL
from dtfl_private.protocol.contracts import FloatArray, IntArray

PERMUTATIONS = 4_999
# Permuted scores at a time: all of them could fill the memory.
CHUNK_BYTES = 2**26
# Points of the half-Cauchy prior, of equal weight.
DEVIATIONS = 400
# Halvings of the range in which an interval's end is looked for: to 1e-12 of it.
HALVINGS = 40


@dataclass(frozen=True, kw_only=True)
class GroupScore:
    """One group.

    Attributes:
        group: its number.
        n: records.
        value: their mean score.
        shrunk, low, high: the group's expected score and its 95 % interval, by the model of all groups.
        above: whether it is above the groups that do not stand out more than itself.
        p_value: of a group being so far from these, or farther, in any of the groups, by chance.
    """

    group: int
    n: int
    value: float
    shrunk: float
    low: float
    high: float
    above: bool
    p_value: float


@dataclass(frozen=True, kw_only=True)
class GroupComparison:
    """All groups.

    Attributes:
        groups: by number.
        deviation: standard deviation of the groups' expected scores, posterior median.
        p_value: of groups that differ so much, or more, by chance.
    """

    groups: Sequence[GroupScore]
    deviation: float
    p_value: float


def compare_groups(
    scores_N: FloatArray, groups_N: IntArray, rng: np.random.Generator, permutations: int = PERMUTATIONS
) -> GroupComparison:
    """Compare the mean scores of groups.

    Args:
        scores_N: of N records, finite; higher is above.
        groups_N: number of each record's group.
        rng: of the permutations.
        permutations: how many; the smallest p-value is one in so many plus one.

    Raises:
        ValueError: shapes that differ, scores that are not finite, or fewer than two groups.
    """
    if scores_N.shape != groups_N.shape or scores_N.ndim != 1 or not np.isfinite(scores_N).all():
        raise ValueError(f"finite scores (N,) and groups (N,) are needed, not {scores_N.shape} and {groups_N.shape}")
    order = np.argsort(groups_N, kind="stable")
    numbers, starts, sizes = np.unique(groups_N[order], return_index=True, return_counts=True)
    if len(numbers) < 2:
        raise ValueError("one group alone differs from none")
    scores = scores_N[order].astype(np.float64)
    means = np.add.reduceat(scores, starts) / sizes
    p_value = _p_value(scores, starts, sizes, rng, permutations)
    p_K, above_K = _standing_out(scores, sizes, rng, permutations)
    shrunk = _shrunk(means, _variance_of_means(scores, means, sizes), float(scores.std()))
    groups = [
        GroupScore(
            group=int(number),
            n=int(sizes[k]),
            value=float(means[k]),
            shrunk=float(shrunk.means[k]),
            low=float(shrunk.lows[k]),
            high=float(shrunk.highs[k]),
            above=bool(above_K[k]),
            p_value=float(p_K[k]),
        )
        for k, number in enumerate(numbers)
    ]
    return GroupComparison(groups=groups, deviation=shrunk.deviation, p_value=p_value)


def _p_value(
    scores: FloatArray, starts: IntArray, sizes: IntArray, rng: np.random.Generator, permutations: int
) -> float:
    """Return the p-value of the groups' differences.

    The sum of squares within groups falls as that between them rises, as the total stays: no quotient is needed.
    """
    centred = scores - scores.mean()
    (between,) = (_sums(centred[None], starts) ** 2 / sizes).sum(axis=1)
    # What equals the observed but for rounding counts as equal.
    least, reached = between - 1e-12 * float(centred @ centred), 1
    for drawn_BN in _permuted(centred, rng, permutations):
        reached += int(((_sums(drawn_BN, starts) ** 2 / sizes).sum(axis=1) >= least).sum())
    return reached / (permutations + 1)


def _standing_out(
    scores: FloatArray, sizes: IntArray, rng: np.random.Generator, permutations: int
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return of each group (K,) the p-value of its distance from the others, and whether it is above them.

    A group whose p-value is at most 1 - `LEVEL` is left out of the next comparison; the p-values never fall.
    """
    kept = np.ones(len(sizes), dtype=bool)
    p_K, above_K = np.ones(len(sizes)), np.zeros(len(sizes), dtype=bool)
    least = 0.0
    while kept.sum() > 1:
        own = np.repeat(kept, sizes)
        own_sizes = sizes[kept]
        distance, found = _distances(scores[own], own_sizes, rng, permutations)
        found = np.maximum(found, least)
        p_K[kept], above_K[kept] = found, distance > 0
        farthest = int(np.argmax(np.abs(distance)))
        least = float(found[farthest])
        if least > 1 - LEVEL:
            break
        kept[np.flatnonzero(kept)[farthest]] = False
    return p_K, above_K


def _distances(
    scores: FloatArray, sizes: IntArray, rng: np.random.Generator, permutations: int
) -> tuple[FloatArray, FloatArray]:
    """Return each group's standardised distance from the others (K,), and the p-value of one so large in any group.

    Scores less their mean add up to 0, so a group's excess over the rest is its mean times N / (N - n), whose variance
    is that of all scores times N / (n (N - n)); that of all scores is the same in every draw, and left out.
    """
    centred, count = scores - scores.mean(), len(scores)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    standard_K = np.sqrt(count / (sizes * (count - sizes)))
    distance_K = _sums(centred[None], starts)[0] * standard_K
    least_K = np.abs(distance_K) - 1e-6 * np.sqrt(float(centred @ centred))
    reached_K = np.ones(len(sizes), dtype=np.int64)
    for drawn_BN in _permuted(centred, rng, permutations):
        most_B = np.abs(_sums(drawn_BN, starts) * standard_K).max(axis=1)
        reached_K += (most_B[:, None] >= least_K).sum(axis=0)
    return distance_K, reached_K / (permutations + 1)


def _permuted(centred: FloatArray, rng: np.random.Generator, permutations: int) -> Iterator[FloatArray]:
    """Yield permutations of scores (N,), many at a time: (B, N)."""
    chunk = max(1, CHUNK_BYTES // (8 * len(centred)))
    for start in range(0, permutations, chunk):
        rows = np.broadcast_to(centred, (min(chunk, permutations - start), len(centred)))
        yield rng.permuted(rows, axis=1)


def _sums(scores_BN: FloatArray, starts: IntArray) -> FloatArray:
    """Return the sum of each group's scores (B, K)."""
    return np.asarray(np.add.reduceat(scores_BN, starts, axis=1))


def _variance_of_means(scores: FloatArray, means: FloatArray, sizes: IntArray) -> FloatArray:
    """Return the sampling variance of each group's mean (K,), from the variance within all groups together."""
    freedom = len(scores) - len(means)
    within = float(((scores - np.repeat(means, sizes)) ** 2).sum()) / freedom if freedom else float(scores.var())
    return np.asarray(within / sizes)


@dataclass(frozen=True, kw_only=True)
class _Shrunk:
    """Expected scores of groups (K,) with the ends of their intervals, and the deviation between groups."""

    means: FloatArray
    lows: FloatArray
    highs: FloatArray
    deviation: float


def _shrunk(means_K: FloatArray, variances_K: FloatArray, scale: float) -> _Shrunk:
    """Return the posterior of the groups' expected scores under a flat prior on their mean.

    Args:
        means_K: of groups.
        variances_K: sampling variances of these.
        scale: of the half-Cauchy prior on the deviation between groups: that of single records' scores.
    """
    if not scale > 0 or not variances_K.max() > 0:
        return _Shrunk(means=means_K, lows=means_K, highs=means_K, deviation=float(means_K.std()))
    deviations_T = scale * np.tan(np.pi / 2 * (np.arange(DEVIATIONS) + 0.5) / DEVIATIONS)
    precisions_TK = 1 / (variances_K + deviations_T[:, None] ** 2)
    of_mean_T = 1 / precisions_TK.sum(axis=1)
    mean_T = of_mean_T * (precisions_TK @ means_K)
    misfit_T = (precisions_TK * (means_K - mean_T[:, None]) ** 2).sum(axis=1)
    log_T = (np.log(of_mean_T) + np.log(precisions_TK).sum(axis=1) - misfit_T) / 2
    weights_T = np.exp(log_T - log_T.max())
    weights_T /= weights_T.sum()
    pull_TK = variances_K * precisions_TK
    centres_TK = means_K + pull_TK * (mean_T[:, None] - means_K)
    spreads_TK = np.sqrt(variances_K * (1 - pull_TK) + pull_TK**2 * of_mean_T[:, None])
    tails = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    lows, highs = (_quantiles(tail, weights_T, centres_TK, spreads_TK) for tail in tails)
    middle = int(np.searchsorted(np.cumsum(weights_T), 0.5))
    return _Shrunk(means=weights_T @ centres_TK, lows=lows, highs=highs, deviation=float(deviations_T[middle]))


def _quantiles(tail: float, weights_T: FloatArray, centres_TK: FloatArray, spreads_TK: FloatArray) -> FloatArray:
    """Return the quantiles (K,) of mixtures of normal distributions, by halving."""
    from scipy.special import ndtr  # scipy takes a while to load

    likely = weights_T > 1e-12
    weights, centres, spreads = weights_T[likely], centres_TK[likely], spreads_TK[likely]
    low, high = (centres - 8 * spreads).min(axis=0), (centres + 8 * spreads).max(axis=0)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        below = weights @ ndtr((middle - centres) / spreads) < tail
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.asarray((low + high) / 2)
