"""An update as a linear function of the records that a client trained on, learnt from simulated rounds.

Each of its D values is regressed on what the records add to it in each of the K stretches of a round. The coefficients
take in all that lies between gradients and weights: learning rate and momentum, how much a weight moves under Adam,
clipping by a defense. What is left over is the noise of that value.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

# Strength of the ridge regression, as a share of the mean square of what is regressed on.
RIDGE = 0.02
# Added where a value never changes, so that nothing is divided by zero; far below what a step changes.
LEAST = 1e-15


@dataclass(frozen=True, kw_only=True)
class LinearUpdate:
    """What records do to an update, in deviations of each value's noise.

    Attributes:
        mean: (D,) of the values.
        deviation: (D,) of their noise.
        effects: (N, K, D) of each record, had it all of a stretch to itself.
    """

    mean: Tensor
    deviation: Tensor
    effects: Tensor

    @classmethod
    def fitted(cls, influences_ND: Tensor, shares_SKN: Tensor, values_SD: Tensor) -> "LinearUpdate":
        """Return the model of S simulated rounds.

        Args:
            influences_ND: of the records on a batch, see `record_influences`.
            shares_SKN: of the records in the stretches, see `Stretches`.
            values_SD: of the updates.
        """
        rounds, stretches, _ = shares_SKN.shape
        mean = values_SD.mean(dim=0)
        apart = (values_SD - mean).T[:, :, None]
        known = ((shares_SKN - shares_SKN.mean(dim=0)) @ influences_ND).permute(2, 0, 1)
        inner = known.transpose(1, 2) @ known
        ridge = RIDGE * inner.diagonal(dim1=1, dim2=2).mean(dim=1) + LEAST**2
        coefficients = torch.linalg.solve(
            inner + ridge[:, None, None] * torch.eye(stretches), known.transpose(1, 2) @ apart
        )
        left = (apart - known @ coefficients).squeeze(2)
        deviation = (left.square().sum(dim=1) / max(rounds - stretches, 1)).sqrt() + LEAST
        effects = influences_ND[:, None] * (coefficients.squeeze(2).T / deviation)
        return cls(mean=mean, deviation=deviation, effects=effects)

    def standardised(self, values: Tensor) -> Tensor:
        """Return values (..., D) in deviations of the noise from the mean."""
        return (values - self.mean) / self.deviation
