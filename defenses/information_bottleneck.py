"""Limit what activations tell of the input: noise in them, and a price on every bit."""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from dtfl_private.defenses.shared.precision import standard_normal, working
from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.protection.client_context import ClientRound, LocalStep
from dtfl_private.protection.cost import Cut, KnownNoise
from dtfl_private.protection.release_reading import Reading


def kl_to_standard_normal(sampled: Tensor, sigma: float, real: Tensor | None = None) -> Tensor:
    """Return an unbiased estimate of KL(N(z, sigma^2) || N(0, 1)) per value, in nats, from z + sigma * noise.

    Where places of sequences are not ``real`` (B, T), they do not count: the mean is over each record's real values.

    The divergence is (z^2 + sigma^2 - 1 - ln sigma^2) / 2, and the square of the sample has the mean z^2 + sigma^2.
    """
    squares = sampled.square().mean() if real is None else _mean_of_real(sampled.square(), real)
    return (squares - 1 - 2 * math.log(sigma)) / 2


def _mean_of_real(values: Tensor, real: Tensor) -> Tensor:
    """Return the mean over records of the means over their real places; records without any count 0."""
    counts = real.sum(dim=1).clamp(min=1) * values.shape[2]
    return ((values * real[..., None]).flatten(1).sum(dim=1) / counts).mean()


@dataclass(frozen=True, kw_only=True)
class InformationBottleneck(Defense):
    """Add noise to the activations and charge for what they still tell (Alemi et al. 2017, 1612.00410).

    The activations become z + sigma * noise, for the auxiliary head and for the server. The loss gains beta times the
    divergence from a standard normal, an upper bound of the information about the input (section 3, equation 17), here
    per value, so that beta means the same at every cut.

    Attributes:
        beta: price of one nat per value.
        sigma: standard deviation of the noise, in units of the activations.
    """

    facts: ClassVar[DefenseFacts] = DefenseFacts(
        protects="smashed data, by training them to hold less of the inputs",
        acts_on=("activations", "loss"),
        cost="accuracy",
        attacker="the noise drawn; averages over releases of a record undo it",
        nonexpansive=True,
    )

    beta: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01
    sigma: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.5

    def encode(self, smashed: Tensor, at: ClientRound) -> Tensor:
        """Return the activations with noise."""
        exact = working(smashed)
        return (exact + self.sigma * standard_normal(exact, at.chance)).to(smashed.dtype)

    def expect(self, smashed: Tensor, at: ClientRound) -> Tensor:
        """Return the activations as they are: what is drawn is read."""
        return smashed

    def read(self, reading: Reading) -> Reading:
        """Return the values before the noise."""
        return reading.noisier(self.sigma)

    def local_loss(self, loss: Tensor, step: LocalStep, at: ClientRound) -> Tensor:
        """Return the loss with the price of the information."""
        return loss + self.beta * kl_to_standard_normal(working(step.smashed), self.sigma, step.real)

    def known_noise(self, cut: Cut) -> KnownNoise:
        """Return the noise."""
        return KnownNoise(std=self.sigma)
