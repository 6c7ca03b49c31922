"""Which of many records were in a round, solved for all of them at once: linear Bayesian least squares.

The unknowns are the shares x (N K,) of N records in each of the K stretches of the round. What was seen is taken for
y = A x + noise, and projected onto what each record does there: t = A' y = G x + A' noise, with G = A' A. With prior
mean and covariance of x, and the covariance C of the projected noise, the best linear estimate of who was in the round,
m (N,), is

    E m + Cov(m, x) G (G Cov(x) G + C)^-1 (t - G E x)

(linear minimum mean square error; Kay 1993, "Fundamentals of statistical signal processing", section 12.3).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

# Share of the noise's covariance that is taken for that of independent values: few simulated rounds know it badly.
SHRINKAGE = 0.1
# Added to the matrix that is inverted, as a share of its mean diagonal.
JITTER = 1e-6


@dataclass(frozen=True, kw_only=True)
class SharesPrior:
    """What is known of the records' shares beforehand; records are independent of each other. All are float64.

    Attributes:
        chances: (N,) that a record is a member.
        mean: (K,) of a member's shares.
        square: (K, K), mean product of a member's shares with each other.
    """

    chances: Tensor
    mean: Tensor
    square: Tensor

    @classmethod
    def of(cls, chances: Tensor, shares_SKN: Tensor, members_SN: Tensor) -> "SharesPrior":
        """Return the prior of records whose members have shares as those of simulated rounds have."""
        own = shares_SKN.double().transpose(1, 2)[members_SN]
        count = max(len(own), 1)
        return cls(chances=chances, mean=own.sum(dim=0) / count, square=own.T @ own / count)

    @property
    def means(self) -> Tensor:
        """Mean (N K,) of the shares."""
        return torch.outer(self.chances, self.mean).flatten()

    @property
    def covariance(self) -> Tensor:
        """Covariance (N K, N K) of the shares."""
        chances, size = self.chances[:, None, None], len(self.chances) * len(self.mean)
        blocks = chances * self.square - chances.square() * torch.outer(self.mean, self.mean)
        return torch.einsum("nm,nkl->nkml", torch.eye(len(blocks), dtype=blocks.dtype), blocks).reshape(size, size)

    @property
    def with_members(self) -> Tensor:
        """Covariance (N, N K) of who is a member with the shares."""
        each = self.chances * (1 - self.chances)
        return torch.einsum("nm,k->nmk", torch.diag(each), self.mean).flatten(1)


@dataclass(frozen=True, kw_only=True)
class JointLeastSquares:
    """The best linear estimate of who was in a round, from what was seen of it.

    Attributes:
        offset: (N K,), mean of the projections.
        weights: (N, N K) of the projections.
        effects: (N K, D) of the shares on what is seen, in deviations of its noise.
        spread: (N,), variance of who is a member.
    """

    offset: Tensor
    weights: Tensor
    effects: Tensor
    spread: Tensor

    @classmethod
    def fitted(
        cls, effects_NKD: Tensor, seen_SD: Tensor, shares_SKN: Tensor, prior: SharesPrior
    ) -> "JointLeastSquares":
        """Return the estimate whose noise is that of simulated rounds.

        Args:
            effects_NKD: of a record's share in a stretch on what is seen.
            seen_SD: of S simulated rounds.
            shares_SKN: of the records in them.
            prior: of the shares.
        """
        effects = effects_NKD.flatten(0, 1)
        gram = (effects @ effects.T).double()
        apart = shares_SKN.double().transpose(1, 2).flatten(1) - prior.means
        noise = (seen_SD @ effects.T).double() - apart @ gram
        offset = noise.mean(dim=0)
        noise = noise - offset
        covariance = noise.T @ noise / len(noise)
        independent = gram * covariance.diagonal().mean() / gram.diagonal().mean().clamp(min=1e-30)
        covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * independent
        whole = gram @ prior.covariance @ gram + covariance
        whole.diagonal().add_(JITTER * whole.diagonal().mean() + 1e-30)
        weights = torch.linalg.solve(whole, gram @ prior.with_members.T).T
        spread = prior.chances * (1 - prior.chances)
        return cls(offset=offset, weights=weights, effects=effects, spread=spread)

    def log_odds(self, seen: Tensor) -> Tensor:
        """Return by how much the log-odds of each record's membership rise (..., N), to first order.

        Args:
            seen: (..., D), of one round or several.
        """
        projected = (seen @ self.effects.T).double() - self.offset
        return (projected @ self.weights.T) / self.spread
