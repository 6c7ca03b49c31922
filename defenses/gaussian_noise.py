"""Add normal noise to the smashed data."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dtfl_private.defenses.shared.added_noise import AddedNoise
from dtfl_private.defenses.shared.precision import standard_normal
from dtfl_private.protection.cost import Cut, KnownNoise
from dtfl_private.protection.release_reading import NoiseShape


@dataclass(frozen=True, kw_only=True)
class GaussianNoise(AddedNoise):
    """Add independent normal noise to every value that is sent.

    The activations are not clipped, so that no noise is large enough for a guarantee: dp-activations clips.

    Attributes:
        sd: standard deviation of the noise, in units of the activations.
    """

    @property
    def shape(self) -> NoiseShape:
        """It is normal."""
        return "normal"

    def draw(self, like: Tensor, chance: torch.Generator) -> Tensor:
        """Return standard normal noise."""
        return standard_normal(like, chance)

    def known_noise(self, cut: Cut) -> KnownNoise:
        """Return the noise."""
        return KnownNoise(std=self.sd)
