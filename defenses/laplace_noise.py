"""Add Laplace noise to the smashed data."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dtfl_private.defenses.shared.added_noise import AddedNoise
from dtfl_private.protection.draws import exponential
from dtfl_private.protection.release_reading import NoiseShape


@dataclass(frozen=True, kw_only=True)
class LaplaceNoise(AddedNoise):
    """Add independent Laplace noise to every value that is sent.

    The activations are not clipped, so that no noise is large enough for a guarantee.

    Attributes:
        sd: standard deviation of the noise, in units of the activations; the scale parameter is sd / sqrt(2).
    """

    @property
    def shape(self) -> NoiseShape:
        """It is Laplace."""
        return "laplace"

    def draw(self, like: Tensor, chance: torch.Generator) -> Tensor:
        """Return Laplace noise of variance 1."""
        # The difference of two exponential variables is a Laplace variable, without the logarithm of zero.
        return (exponential(like, chance) - exponential(like, chance)) / math.sqrt(2)
