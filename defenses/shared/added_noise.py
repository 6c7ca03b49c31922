"""What the two plain noises share: a dial for the standard deviation, and no guarantee.

No defense of its own.
"""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.defenses.shared.precision import working
from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.release_reading import NoiseShape, Reading
from dtfl_private.protocol.messages import SmashedBatch


@dataclass(frozen=True, kw_only=True)
class AddedNoise(Defense):
    """Noise of mean 0 on every value that is sent; the activations are not clipped, so that none is a guarantee.

    Attributes:
        sd: standard deviation of the noise, in units of the activations.
    """

    facts: ClassVar[DefenseFacts] = DefenseFacts(
        protects="smashed data",
        acts_on=("smashed",),
        cost="accuracy",
        attacker="the noise drawn; averages over releases of a record undo it",
        nonexpansive=True,
    )

    sd: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1

    @abstractmethod
    def draw(self, like: Tensor, chance: torch.Generator) -> Tensor:
        """Return noise of variance 1, of the shape and type of ``like``."""

    @property
    @abstractmethod
    def shape(self) -> NoiseShape:
        """Which noise it is."""

    def protect_batch(self, message: SmashedBatch, at: ClientRound) -> SmashedBatch:
        """Return the batch with noise on its activations."""
        exact = working(message.smashed)
        noisy = exact + self.sd * self.draw(exact, at.chance)
        return replace(message, smashed=noisy.to(message.smashed.dtype))

    def read(self, reading: Reading) -> Reading:
        """Return the values before the noise."""
        return reading.noisier(self.sd, self.shape)
