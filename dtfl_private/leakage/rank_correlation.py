"""Spearman's rank correlation with its interval, of few pairs."""

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
    if first_N.shape != second_N.shape or first_N.ndim != 1:
        raise ValueError(f"pairs are needed, not {first_N.shape} and {second_N.shape}")
    if len(first_N) < SMALLEST or np.ptp(first_N) == 0 or np.ptp(second_N) == 0:
        return None
    from scipy.special import ndtri  # scipy takes a while to load
    from scipy.stats import spearmanr

    found = float(np.clip(spearmanr(first_N, second_N).statistic, -1, 1))
    # Of N pairs in perfect order, one exchange of neighbours could be unseen: Fisher's transform has no value there.
    most = 1 - 6 / (len(first_N) * (len(first_N) ** 2 - 1))
    centre = float(np.arctanh(np.clip(found, -most, most)))
    reach = float(ndtri((1 + LEVEL) / 2)) * float(np.sqrt((1 + found**2 / 2) / (len(first_N) - 3)))
    low, high = float(np.tanh(centre - reach)), float(np.tanh(centre + reach))
    return Interval(value=found, low=min(low, found), high=max(high, found))
