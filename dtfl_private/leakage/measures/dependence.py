"""The normalised unbiased covariance of two symmetric matrices over the same records, with interval and p-value.

Of distances it is the bias-corrected squared distance correlation (Szekely and Rizzo 2014, 1310.2926), of inner
products the debiased linear CKA (Song et al. 2012; Nguyen, Raghu and Kornblith 2021, 2010.15327): both are ratios of
U-statistics

    <A, B> = [sum_ij A_ij B_ij - 2/(n-2) sum_i a_i b_i + a b / ((n-1)(n-2))] / (n(n-3))

where A and B have zero diagonals, a_i and b_i are their row sums, a and b their totals.

The interval. A bootstrap would draw records twice, at distance zero, which distances of independent records never are:
it is biased upwards. Two things are known instead. Under independence, permuting one sample gives the statistic's
distribution, exactly: the value less its 97.5 % and 2.5 % quantiles is an interval that contains 0 in 95 % of cases in
any dimension, but too narrow under dependence, where the spread falls with 1/sqrt(n) rather than 1/n. Under dependence
the delete-one jackknife is right for large n; under independence it is too wide. The interval reaches as far on each
side as the farther of the two: it contains 0 in 95 % or more of cases under independence, and is right for large n
under dependence. It ends at 1, which neither quantity exceeds.

Matrices are (n, n), float64.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dtfl_private.leakage.intervals import Interval
from dtfl_private.leakage.measures.base import NORMAL_QUANTILE, jackknife_deviation
from dtfl_private.protocol.contracts import FloatArray


@dataclass(frozen=True, kw_only=True)
class Dependence:
    """The statistic with its interval, and the p-value of a permutation test of independence (one-sided)."""

    interval: Interval
    p_value: float


def dependence(first: Tensor, second: Tensor, permutations: int, chance: torch.Generator) -> Dependence:
    """Return how strongly records of one sample depend on those of the other.

    Args:
        first: distances or inner products of a sample's records (n, n), zero diagonal; n >= 5.
        second: of the other sample's.
        permutations: of the second sample's records.
        chance: of the permutations.
    """
    value = correlation(first, second)
    null = permuted(first, second, permutations, chance)
    low, high = np.quantile(null, [0.025, 0.975])
    reach = NORMAL_QUANTILE * jackknife_deviation(without_each(first, second))
    # The true quantity is at most 1. The estimate is unbiased, not bounded below by 0, and rounding may lift it over 1.
    value = min(value, 1.0)
    interval = Interval(
        value=value, low=value - max(reach, float(high), 0.0), high=min(1.0, value + max(reach, -float(low), 0.0))
    )
    # One more than counted: the order that was observed is one of the permutations.
    return Dependence(interval=interval, p_value=(1 + int((null >= value).sum())) / (1 + permutations))


def correlation(first: Tensor, second: Tensor) -> float:
    """Return <A, B> / sqrt(<A, A> <B, B>); 0 if a sample is constant."""
    a, b = centred(first), centred(second)
    variances = float((a * a).sum() * (b * b).sum())
    return float((a * b).sum()) / variances**0.5 if variances > 0 else 0.0


def centred(matrix: Tensor) -> Tensor:
    """Return the U-centred matrix, whose entrywise products add up to n(n-3) <A, B>."""
    count, rows, total = len(matrix), matrix.sum(dim=1), matrix.sum()
    changed = matrix - (rows[:, None] + rows[None, :]) / (count - 2) + total / ((count - 1) * (count - 2))
    return changed.fill_diagonal_(0)


def permuted(first: Tensor, second: Tensor, permutations: int, chance: torch.Generator) -> FloatArray:
    """Return the statistic for random orders of the second sample's records (permutations,)."""
    a, b = centred(first), centred(second)
    scale = float(((a * a).sum() * (b * b).sum()).sqrt())
    if scale == 0:
        return np.zeros(permutations)
    # Half of a symmetric matrix is enough. NumPy takes entries several times faster than torch.
    count = len(a)
    rows, columns = np.triu_indices(count, 1)
    flat, weights = b.numpy().ravel(), 2 * a[rows, columns] / scale
    found = []
    for _ in range(permutations):
        order = torch.randperm(count, generator=chance).numpy()
        found.append(weights @ torch.from_numpy(flat.take((count * order).take(rows) + order.take(columns))))
    return torch.stack(found).numpy()


def without_each(first: Tensor, second: Tensor) -> FloatArray:
    """Return the statistic of all records but one (n,), for each."""
    covariance = _covariance_without(first, second)
    variances = _covariance_without(first, first) * _covariance_without(second, second)
    present = variances > 0
    return np.asarray(torch.where(present, covariance / torch.where(present, variances, 1).sqrt(), 0))


def _covariance_without(first: Tensor, second: Tensor) -> Tensor:
    """Return <A, B> without each of the records (n,), from sums over all of them."""
    left = len(first) - 1
    a, b = first.sum(dim=1), second.sum(dim=1)
    both = (first * second).sum(dim=1)
    products = both.sum() - 2 * both
    rows = (a @ b) - a * b - second @ a - first @ b + both
    totals = (a.sum() - 2 * a) * (b.sum() - 2 * b)
    return (products - 2 / (left - 2) * rows + totals / ((left - 1) * (left - 2))) / (left * (left - 3))
