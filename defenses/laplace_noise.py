"""Add Laplace noise to the smashed data."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from defenses.precision import working
from dtfl_private.defense import ClientRound, Defense, DefenseFacts
from dtfl_private.messages import SmashedBatch


@dataclass(frozen=True, kw_only=True)
class LaplaceNoise(Defense):
    """Add independent Laplace noise to every value that is sent.

    The activations are not clipped, so that no noise is large enough for a guarantee.

    Attributes:
        sd: standard deviation of the noise, in units of the activations; the scale parameter is sd / sqrt(2).
    """

    facts: ClassVar[DefenseFacts] = DefenseFacts(
        protects="smashed data",
        acts_on=("smashed",),
        cost="accuracy",
        attacker="the noise drawn; averages over releases of a record undo it",
    )

    sd: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1

    def protect_batch(self, message: SmashedBatch, at: ClientRound) -> SmashedBatch:
        """Return the batch with noise on its activations."""
        exact = working(message.smashed)
        # The difference of two exponential variables is a Laplace variable, without the logarithm of zero.
        noise = _exponential(exact, at.chance) - _exponential(exact, at.chance)
        return replace(message, smashed=(exact + self.sd / math.sqrt(2) * noise).to(message.smashed.dtype))


def _exponential(like: Tensor, chance: torch.Generator) -> Tensor:
    return torch.empty_like(like).exponential_(generator=chance)
