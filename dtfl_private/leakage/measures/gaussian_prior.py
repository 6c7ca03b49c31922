"""What a Gaussian prior of the images leaves to guess: the least error that any reconstruction can have.

Images with covariance V of eigenvalues l_i (a Gaussian prior), and an observation whose Fisher information M about the
image has the trace T, whatever its directions. Van Trees' inequality bounds the sum of squared errors by
tr((V^-1 + M)^-1), which is sum_i 1 / (1/l_i + m_i) at least, m_i the diagonal of M by eigenvectors of V. The M that
leaves least is that of reverse water-filling (as in Cover and Thomas 2006, theorem 10.3.3): with the level t at which

    sum over l_i > t of (1/t - 1/l_i) = T:        sum of squared errors >= sum_i min(l_i, t)

No choice of p makes the bound of the p leading components alone, p^2 / (T + sum_i<=p 1/l_i), larger. Directions in
which images do not vary count nothing, where tr(V^-1) would be infinite. The bound is concave in V, and grows with it:
a sampled covariance gives, on average, less than the true one. It is never shrunk: that raises small eigenvalues.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dtfl_private.leakage.intervals import Interval
from dtfl_private.leakage.measures.base import NORMAL_QUANTILE


@dataclass(frozen=True, kw_only=True)
class GaussianPrior:
    """The principal components of sampled images.

    Attributes:
        variances: eigenvalues (r,) of the sample covariance, positive, from the largest down.
        squares: squared coordinate of each image in each component (k, r).
        values: d, number of values of an image.
    """

    variances: Tensor
    squares: Tensor
    values: int

    def level(self, information: float) -> float:
        """Return the error t that information of this trace leaves in each component that it is spent on."""
        inverse = 1 / self.variances
        counts = torch.arange(1, len(inverse) + 1, dtype=inverse.dtype)
        totals = inverse.cumsum(dim=0)
        # What it takes to reach the next smaller component grows from one to the next.
        spent_on = int((counts * inverse - totals <= information).sum())
        return spent_on / (information + float(totals[spent_on - 1]))

    def least_error(self, information: float) -> float:
        """Return the lower bound on the mean squared error per value, from information of this trace."""
        if not len(self.variances):
            return 0.0
        return float(self.variances.clamp(max=self.level(information)).sum()) / self.values

    def deviation(self, information: float) -> float:
        """Return the standard deviation of `least_error` by the images that the prior was sampled from.

        By the infinitesimal jackknife (Jaeckel 1972, Efron 1982): the spread of the images' influences.
        """
        if not len(self.variances):
            return 0.0
        slopes = (self.level(information) / self.variances).clamp(max=1).square()
        influences = self.squares @ slopes / self.values
        return float(influences.std(correction=1)) / math.sqrt(len(influences))

    def bound(self, information: Interval) -> Interval:
        """Return the bound for information per value with its interval, by what both are sampled from."""
        value, low, high = (
            self.least_error(self.values * told) for told in (information.value, information.high, information.low)
        )
        reach = NORMAL_QUANTILE * self.deviation(self.values * information.value)
        lower, upper = (math.hypot(reach, value - end) for end in (low, high))
        return Interval(value=value, low=max(0.0, value - lower), high=value + upper)


@torch.no_grad()
def gaussian_prior(images: Tensor) -> GaussianPrior:
    """Return the principal components of images (k, ...), k >= 2; none if all images are equal."""
    rows = images.detach().cpu().double().flatten(1)
    rows = rows - rows.mean(dim=0)
    count, values = rows.shape
    # Inner products and covariance have the same positive eigenvalues; the smaller one is enough.
    if count < values:
        eigenvalues, vectors = torch.linalg.eigh(rows @ rows.T / count)
        squares = count * eigenvalues.clamp(min=0) * vectors.square()
    else:
        eigenvalues, vectors = torch.linalg.eigh(rows.T @ rows / count)
        squares = (rows @ vectors).square()
    rounding = len(eigenvalues) * torch.finfo(rows.dtype).eps * float(eigenvalues.max())
    kept = (eigenvalues > rounding).nonzero().flatten().flip(0)
    return GaussianPrior(variances=eigenvalues[kept], squares=squares[:, kept], values=values)
