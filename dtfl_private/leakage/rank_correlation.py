"""Spearman's rank correlation with its interval, of few pairs, also of several groups of pairs together."""

from collections.abc import Sequence

import numpy as np

from dtfl_private.leakage.intervals import LEVEL, Interval
from dtfl_private.protocol.contracts import FloatArray

SMALLEST = 5
"""Pairs below which nothing is said."""


def rank_correlation(first_N: FloatArray, second_N: FloatArray) -> Interval | None:
    """Return Spearman's rank correlation with its 95 % interval; None of too few pairs, or if one of both is constant.

    By Fisher's transform with the variance (1 + r^2 / 2) / (N - 3) of Bonett and Wright 2000 (Psychometrika 65), whose
    intervals hold for few pairs and for strong correlations too.

    Raises:
        ValueError: shapes that differ.
    """
    return combined_rank_correlation([(first_N, second_N)])


def combined_rank_correlation(groups: Sequence[tuple[FloatArray, FloatArray]]) -> Interval | None:
    """Return the mean rank correlation within groups of pairs; None if none of them has one.

    Ranks are taken in each group by itself, so that what sets groups apart counts for nothing. Fisher's transforms are
    averaged with the weights N - 3 (Hunter and Schmidt 2004, Methods of meta-analysis, chapter 3). The interval is for
    these groups: how much the correlation differs between groups is not in it.

    Args:
        groups: of each its pairs, (N,) and (N,).

    Raises:
        ValueError: shapes that differ.
    """
    from scipy.special import ndtri  # scipy takes a while to load

    found = [(value, len(first)) for first, second in groups if (value := _correlation(first, second)) is not None]
    if not found:
        return None
    values_G, pairs_G = (np.array(column, dtype=float) for column in zip(*found, strict=True))
    # Of N pairs in perfect order, one exchange of neighbours could be unseen: Fisher's transform has no value there.
    most_G = 1 - 6 / (pairs_G * (pairs_G**2 - 1))
    weights_G = (pairs_G - 3) / (pairs_G - 3).sum()
    centre = float(weights_G @ np.arctanh(np.clip(values_G, -most_G, most_G)))
    variance = float(weights_G**2 @ ((1 + values_G**2 / 2) / (pairs_G - 3)))
    reach = float(ndtri((1 + LEVEL) / 2)) * float(np.sqrt(variance))
    low, high = float(np.tanh(centre - reach)), float(np.tanh(centre + reach))
    value = float(values_G[0]) if len(values_G) == 1 else float(np.tanh(centre))
    return Interval(value=value, low=min(low, value), high=max(high, value))


def _correlation(first_N: FloatArray, second_N: FloatArray) -> float | None:
    """Return Spearman's rank correlation; None of too few pairs, or if one of both is constant."""
    if first_N.shape != second_N.shape or first_N.ndim != 1:
        raise ValueError(f"pairs are needed, not {first_N.shape} and {second_N.shape}")
    if len(first_N) < SMALLEST or np.ptp(first_N) == 0 or np.ptp(second_N) == 0:
        return None
    from scipy.stats import spearmanr

    return float(np.clip(spearmanr(first_N, second_N).statistic, -1, 1))
