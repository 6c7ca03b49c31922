"""95 % intervals of scores, over images and over seeds.

Scores are (S, N): of N images under S repetitions (seeds) of an attack. The value is the mean over seeds of a statistic
of the images. Its variance has two parts, as if seeds and images crossed (Owen 2007, The pigeonhole bootstrap, arXiv
0712.1111):

    images    the bootstrap's: N of them drawn with replacement, in all seeds together, N - 1 degrees of freedom
    seeds     the variance of the seeds' values over S, S - 1 degrees of freedom

The interval reaches t standard errors, t the mean of both parts' t quantiles weighted by their variances (Cochran and
Cox 1957, Experimental Designs, section 4.14), and leans to the side to which the bootstrap's draws are skewed (Hall
1992, Journal of the Royal Statistical Society B 54). What a metric cannot be is cut off. Where an interval reaches so
far, a share has also what Clopper and Pearson (1934) leave possible: shares of 0 and 1 have no spread to be seen.

One image shows no spread at all: where the metric's range is known, the interval is all of it. One seed says nothing of
seeds: then an interval is for the seed at hand.

How often intervals contain the truth, and how wide they are: docs/explanation/intervals.md.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dtfl_private.leakage.metrics import WORST_SHARE, Metric
from dtfl_private.protocol.contracts import FloatArray, IntArray

LEVEL = 0.95
DRAWS = 2000
# Counts of images at a time: those of all draws could fill the memory, and more are slower, as no cache holds them.
CHUNK = 20_000
# Draws at a time from several groups, which take turns.
TURN = 200


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A value and its 95 % interval, which contains it."""

    value: float
    low: float
    high: float


class Statistic(Protocol):
    """What is computed from the scores of one seed, for many draws of images at once."""

    def __call__(self, groups: Sequence[FloatArray], counts: Sequence[IntArray]) -> FloatArray:
        """Return the value of each draw (B,).

        Args:
            groups: scores (N,) of each group of images.
            counts: of each group, how often a draw holds each image (B, N).
        """
        ...


def mean(groups: Sequence[FloatArray], counts: Sequence[IntArray]) -> FloatArray:
    """Return the mean score of the images of a draw; a `Statistic` of one group."""
    (scores_N,), (counts_BN,) = groups, counts
    return np.asarray(counts_BN @ scores_N / counts_BN.sum(axis=1))


def worst(metric: Metric, share: float = WORST_SHARE) -> Statistic:
    """Return the statistic: mean score of the most exposed images, this share of all (rounded, at least one).

    Most exposed are those with the highest scores, or the lowest, as the metric says.
    """

    def statistic(groups: Sequence[FloatArray], counts: Sequence[IntArray]) -> FloatArray:
        (scores_N,), (counts_BN,) = groups, counts
        taken = max(1, round(share * len(scores_N)))
        order = np.argsort(-scores_N if metric.exposing == "high" else scores_N, kind="stable")
        # How many of the first `taken` images of a draw each image is, from the most exposed one on.
        reached_BN = np.minimum(np.cumsum(counts_BN[:, order], axis=1), taken)
        used_BN = reached_BN.copy()
        used_BN[:, 1:] -= reached_BN[:, :-1]
        return np.asarray(used_BN @ scores_N[order] / taken)

    return statistic


def mean_interval(scores_SN: FloatArray, rng: np.random.Generator) -> Interval:
    """Return the mean over images and seeds, of scores without a range; of one image by the seeds alone."""
    return bootstrap([scores_SN], mean, rng)


def worst_interval(metric: Metric, scores_SN: FloatArray, rng: np.random.Generator) -> Interval:
    """Return the mean over seeds of what the most exposed 5 % of the images score in each; use 500 images or more."""
    return bootstrap([scores_SN], worst(metric), rng, span=metric.limits)


def metric_interval(metric: Metric, scores_SN: FloatArray, rng: np.random.Generator) -> Interval:
    """Return the mean over images and seeds, within the metric's range; of a share with the exact bound at its ends."""
    found = bootstrap([scores_SN], mean, rng, span=metric.limits)
    return with_share_bound(found, scores_SN.shape[-1]) if metric.share else found


def difference_interval(first_SN: FloatArray, second_SN: FloatArray, rng: np.random.Generator) -> Interval:
    """Return the mean of first - second: two attacks on the same images, paired image by image and seed by seed.

    Raises:
        ValueError: they have different numbers of images or seeds.
    """
    if first_SN.shape != second_SN.shape:
        raise ValueError(
            f"scores of shapes {first_SN.shape} and {second_SN.shape} are not of the same images and seeds"
        )
    return mean_interval(first_SN - second_SN, rng)


def with_share_bound(found: Interval, cases: int) -> Interval:
    """Return the interval of a share of ``cases`` independent cases, widened where it reaches 0 or 1.

    There normal approximations fail: of a share of 0 or 1 no spread is seen at all. Clopper and Pearson (1934) hold: if
    none of n cases was seen, the true share is below 1 - 0.025^(1/n) with 97.5 % confidence; likewise for all.
    """
    # Quotients of counts add up to 1 but for their last digits.
    start, value, end = (round(one, 12) for one in (found.low, found.value, found.high))
    if start > 0 and end < 1:
        return found
    from scipy.special import betaincinv  # scipy takes a while to load

    seen, tail = value * cases, (1 - LEVEL) / 2
    low = 0.0 if seen <= 0 else float(betaincinv(seen, cases - seen + 1, tail))
    high = 1.0 if seen >= cases else float(betaincinv(seen + 1, cases - seen, 1 - tail))
    return Interval(value=value, low=max(0.0, min(start, low)), high=min(1.0, max(end, high)))


def bootstrap(
    groups_SN: Sequence[FloatArray],
    statistic: Statistic,
    rng: np.random.Generator,
    draws: int = DRAWS,
    span: tuple[float, float] | None = None,
) -> Interval:
    """Return the mean of a statistic over seeds, with its interval; see above.

    Args:
        groups_SN: scores (S, N) of each group of images; the groups are drawn from apart, the seeds together.
        statistic: computed in each seed.
        rng: stream of the draws, for example ``stream(seed, "bootstrap", attack, metric)``.
        draws: number of draws.
        span: least and largest value that the statistic can have; the whole interval of a group of one image.

    Raises:
        ValueError: scores that are not (S, N), empty, not finite, or of different numbers of seeds.
    """
    seeds = checked_seeds(groups_SN)
    ones = [np.ones((1, group.shape[1]), dtype=np.int64) for group in groups_SN]
    by_seed_S = _per_seed(groups_SN, statistic, ones)[0]
    value, images = float(by_seed_S.mean()), min(group.shape[1] for group in groups_SN)
    if images == 1 and span is not None:
        return Interval(value=value, low=min(span[0], value), high=max(span[1], value))
    drawn_B = np.concatenate([_over_seeds(groups_SN, statistic, size, rng) for size in _chunks(groups_SN, draws)])
    of_images = of_seeds = Part(variance=0.0, freedom=1)
    if images > 1:
        # Drawn images vary about their own mean, which takes one degree of freedom.
        of_images = Part(variance=float(drawn_B.var()) * images / (images - 1), freedom=images - 1)
    if seeds > 1:
        of_seeds = Part(variance=float(by_seed_S.var(ddof=1)) / seeds, freedom=seeds - 1)
    return _interval(value, of_images, of_seeds, _skewness(drawn_B, value), span)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a value's variance, and the degrees of freedom that it is estimated with."""

    variance: float
    freedom: int


def _interval(
    value: float, of_images: Part, of_seeds: Part, skewness: float, span: tuple[float, float] | None
) -> Interval:
    """Return the interval; ``skewness`` is that of the part of the images."""
    from scipy.special import stdtrit  # scipy takes a while to load

    variance = of_images.variance + of_seeds.variance
    if variance == 0:
        return Interval(value=value, low=value, high=value)
    quantiles = [part.variance * float(stdtrit(part.freedom, (1 + LEVEL) / 2)) for part in (of_images, of_seeds)]
    reach, error = sum(quantiles) / variance, math.sqrt(variance)
    lean = skewness * (of_images.variance / variance) ** 1.5
    low, high = value - error * _unskewed(reach, lean), value - error * _unskewed(-reach, lean)
    if span is not None:
        low, high = max(low, span[0]), min(high, span[1])
    return Interval(value=value, low=min(low, value), high=max(high, value))


def _unskewed(quantile: float, skewness: float) -> float:
    """Return the quantile of a studentised value of this skewness from that of a symmetric one (Hall 1992)."""
    if abs(skewness) < 1e-6:
        return quantile
    return 3 / skewness * (float(np.cbrt(1 + skewness * (quantile - skewness / 6))) - 1)


def _skewness(drawn: FloatArray, value: float) -> float:
    """Return the skewness of draws; 0 where they differ by rounding only. Beyond 1 the correction makes no sense."""
    centred = drawn - drawn.mean()
    deviation = float(centred.std())
    if deviation <= 1e-12 * max(1.0, abs(value)):
        return 0.0
    cubes = centred * centred * centred  # powers take 40 times as long
    return float(np.clip(cubes.mean() / deviation**3, -1, 1))


def checked_seeds(groups_SN: Sequence[FloatArray]) -> int:
    """Return the number of seeds that the groups' scores (S, N) have.

    Raises:
        ValueError: see `bootstrap`.
    """
    for group in groups_SN:
        if group.ndim != 2 or not group.size or len(group) != len(groups_SN[0]):
            shapes = ", ".join(str(other.shape) for other in groups_SN)
            raise ValueError(f"scores must be (seeds, images) with the same seeds, not {shapes}")
        if not np.isfinite(group).all():
            raise ValueError("a score is no finite number")
    return len(groups_SN[0])


def _over_seeds(
    groups_SN: Sequence[FloatArray], statistic: Statistic, draws: int, rng: np.random.Generator
) -> FloatArray:
    """Return the mean over seeds of each of so many draws of images (draws,)."""
    counts = [_drawn(group.shape[1], group.shape[1], draws, rng) for group in groups_SN]
    return np.asarray(_per_seed(groups_SN, statistic, counts).mean(axis=1))


def _per_seed(groups_SN: Sequence[FloatArray], statistic: Statistic, counts: Sequence[IntArray]) -> FloatArray:
    """Return the statistic of each draw and seed (B, S)."""
    return np.stack([statistic(groups, counts) for groups in zip(*groups_SN, strict=True)], axis=1)


def _chunks(groups_SN: Sequence[FloatArray], draws: int) -> Iterator[int]:
    """Yield how many draws are made at a time.

    Of one group as many as four divides: BLAS takes rows by fours, and what a draw comes to is not to depend on others.
    """
    most = max(40, CHUNK // groups_SN[0].shape[1] // 4 * 4) if len(groups_SN) == 1 else TURN
    for start in range(0, draws, most):
        yield min(most, draws - start)


def _drawn(among: int, taken: int, draws: int, rng: np.random.Generator) -> IntArray:
    """Return how often each of ``among`` things is drawn in ``taken`` draws with replacement (draws, among)."""
    chosen = rng.integers(among, size=(draws, taken)) + among * np.arange(draws)[:, None]
    return np.bincount(chosen.ravel(), minlength=draws * among).reshape(draws, among)
