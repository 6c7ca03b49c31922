"""Linear discriminant analysis of points that depend on a true label and on the one sent in its place."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

# How much a pair's own part of its mean may vary, relative to the parts of its two labels.
PAIR_VARIANCE = 0.25
# Of a record about the mean of its pair, relative to the same.
NOISE = 1.0


@dataclass(frozen=True, kw_only=True)
class PairDiscriminant:
    """Normal distributions of points, one for each pair of a true and a sent label, with one covariance.

    Linear discriminant analysis (Fisher 1936), but for two things. A pair's mean is the sum of a part of its true
    label, one of its sent label and one of its own, found by ridge regression, so that pairs seldom or never seen have
    one too. And the covariance is shrunk towards a multiple of the identity (Ledoit and Wolf 2004) by a given share.

    Attributes:
        means: (classes, classes, D), float64, by true and sent label.
        precision: (D, D), float64, inverse of the covariance.
    """

    means: Tensor
    precision: Tensor

    @classmethod
    def fit(cls, points: Tensor, true: Tensor, sent: Tensor, *, classes: int, shrinkage: float) -> Self:
        """Return the distributions of points.

        Args:
            points: (N, D), float64, centred; D a few hundred at most.
            true: labels (N,).
            sent: labels (N,), as the defense drew them.
            classes: number of classes.
            shrinkage: share of the multiple of the identity in the covariance: above 0, up to 1.
        """
        means = pair_means(points, true, sent, classes)
        rest = points - means[true, sent]
        covariance = rest.T @ rest / len(rest)
        sphere = covariance.diagonal().mean() * torch.eye(len(covariance), dtype=torch.float64)
        return cls(means=means, precision=torch.linalg.inv(torch.lerp(covariance, sphere, shrinkage)))

    def log_likelihoods(self, points: Tensor) -> Tensor:
        """Return those (N, classes, classes) of pairs of a true and a sent label, up to a constant for each point."""
        weighted = self.means @ self.precision
        return torch.einsum("nd,tsd->nts", points, weighted) - (weighted * self.means).sum(dim=2) / 2


def pair_means(points: Tensor, true: Tensor, sent: Tensor, classes: int) -> Tensor:
    """Return the mean (classes, classes, D) of points (N, D) of each true and sent label, by ridge regression on both.

    In its dual form, on the pairs that occur, weighed by how often they do.
    """
    pairs, pair_of, counts = torch.unique(true * classes + sent, return_inverse=True, return_counts=True)
    rows, columns = pairs // classes, pairs % classes
    shared = (rows[:, None] == rows).double() + (columns[:, None] == columns).double()
    kernel = shared + torch.diag(PAIR_VARIANCE + NOISE / counts.double())
    seen = _sums(points, pair_of, len(pairs)) / counts[:, None]
    parts = torch.linalg.solve(kernel, seen)
    own = PAIR_VARIANCE * _sums(parts, pairs, classes**2).view(classes, classes, -1)
    return _sums(parts, rows, classes)[:, None] + _sums(parts, columns, classes) + own


def true_label_evidence(log_likelihoods: Tensor, channel: Tensor) -> Tensor:
    """Return the log-likelihood (N, classes) of each true label, whatever label was sent in its place.

    Args:
        log_likelihoods: (N, classes, classes) of pairs of a true and a sent label.
        channel: (classes, classes), probability of each sent label (column) given the true one (row).
    """
    return torch.logsumexp(log_likelihoods + channel.log(), dim=2)


def _sums(rows: Tensor, groups: Tensor, count: int) -> Tensor:
    """Return the sums (count, D) of rows (N, D) by their group (N,)."""
    return torch.zeros(count, rows.shape[1], dtype=rows.dtype).index_add(0, groups, rows)
