"""95 % bootstrap intervals of scores over images and over seeds, both drawn anew with replacement.

Scores are (S, N): of N images under S repetitions (seeds) of an attack. Each draw takes N images and, because drawing
S of a few seeds would understate how much they differ, S - 1 seeds (one, if there is one); an image is drawn in all
seeds together, as is a seed in all images: Owen 2007 (The pigeonhole bootstrap, arXiv 0712.1111); one fewer: Rao and
Wu 1988 (Journal of the American Statistical Association 83).

How often intervals of simulated normal scores contain the truth (n = 1,000 simulations each): of the mean, 94 % where
images differ more than seeds (100 images, 1 or 3 seeds), but 76 % with 3 seeds and 89 % with 10 where seeds differ ten
times as much as images: a few seeds cannot show how far others may lie. With one seed, an interval says nothing about
seeds. Of the worst 5 %: 79 % at 100 images (that is five images), 93 % at 1,000. Of the AUC of 100 members, 95 %.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dtfl_private.contracts import FloatArray, IntArray
from dtfl_private.leakage.metrics import WORST_SHARE, Metric

LEVEL = 0.95
DRAWS = 2000
# Draws at a time: the counts of all draws could fill the memory.
CHUNK = 200


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
        used_BN = np.diff(reached_BN, axis=1, prepend=0)
        return np.asarray(used_BN @ scores_N[order] / taken)

    return statistic


def mean_interval(scores_SN: FloatArray, rng: np.random.Generator) -> Interval:
    """Return the mean over images and seeds."""
    return bootstrap([scores_SN], mean, rng)


def worst_interval(metric: Metric, scores_SN: FloatArray, rng: np.random.Generator) -> Interval:
    """Return the mean over seeds of what the most exposed 5 % of the images score in each; use 500 images or more."""
    return bootstrap([scores_SN], worst(metric), rng)


def metric_interval(metric: Metric, scores_SN: FloatArray, rng: np.random.Generator) -> Interval:
    """Return the mean over images and seeds; of a share that is 0 or 1 throughout, with the exact bound.

    All draws from equal scores are equal. What share of other images could still be different is then bounded by
    `share_bound`.
    """
    found = mean_interval(scores_SN, rng)
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


def with_share_bound(found: Interval, count: int) -> Interval:
    """Return the interval of a share of ``count`` independent cases, widened if the share is 0 or 1.

    If none of n cases was seen, the true share is below 1 - 0.025^(1/n) with 97.5 % confidence (Clopper and Pearson
    1934); likewise for all.
    """
    bound = 1 - ((1 - LEVEL) / 2) ** (1 / count)
    if found.value == 0:
        return Interval(value=0.0, low=0.0, high=max(found.high, bound))
    if found.value == 1:
        return Interval(value=1.0, low=min(found.low, 1 - bound), high=1.0)
    return found


def bootstrap(
    groups_SN: Sequence[FloatArray], statistic: Statistic, rng: np.random.Generator, draws: int = DRAWS
) -> Interval:
    """Return the mean of a statistic over seeds, with the 2.5 % and 97.5 % quantiles of its bootstrap draws.

    Args:
        groups_SN: scores (S, N) of each group of images; the groups are drawn from apart, the seeds together.
        statistic: computed in each seed.
        rng: stream of the draws, for example ``stream(seed, "bootstrap", attack, metric)``.
        draws: number of draws.

    Raises:
        ValueError: scores that are not (S, N), empty, not finite, or of different numbers of seeds.
    """
    seeds = checked_seeds(groups_SN)
    ones = [np.ones((1, group.shape[1]), dtype=np.int64) for group in groups_SN]
    value = float(_per_seed(groups_SN, statistic, ones).mean())
    means = []
    for size in _chunks(draws):
        counts = [_drawn(group.shape[1], group.shape[1], size, rng) for group in groups_SN]
        seed_counts_BS = _drawn(seeds, max(1, seeds - 1), size, rng)
        values_BS = _per_seed(groups_SN, statistic, counts)
        means.append((values_BS * seed_counts_BS).sum(axis=1) / seed_counts_BS.sum(axis=1))
    low, high = np.quantile(np.concatenate(means), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value=value, low=min(float(low), value), high=max(float(high), value))


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


def _per_seed(groups_SN: Sequence[FloatArray], statistic: Statistic, counts: Sequence[IntArray]) -> FloatArray:
    """Return the statistic of each draw and seed (B, S)."""
    return np.stack([statistic(groups, counts) for groups in zip(*groups_SN, strict=True)], axis=1)


def _chunks(draws: int) -> Iterator[int]:
    for start in range(0, draws, CHUNK):
        yield min(CHUNK, draws - start)


def _drawn(among: int, taken: int, draws: int, rng: np.random.Generator) -> IntArray:
    """Return how often each of ``among`` things is drawn in ``taken`` draws with replacement (draws, among)."""
    chosen = rng.integers(among, size=(draws, taken)) + among * np.arange(draws)[:, None]
    return np.bincount(chosen.ravel(), minlength=draws * among).reshape(draws, among)
