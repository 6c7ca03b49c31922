"""Add normal noise to the smashed data."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from pydantic import Field

from defenses.precision import standard_normal, working
from dtfl_private.defense import ClientRound, Defense, DefenseFacts
from dtfl_private.messages import SmashedBatch


@dataclass(frozen=True, kw_only=True)
class GaussianNoise(Defense):
    """Add independent normal noise to every value that is sent.

    The activations are not clipped, so that no noise is large enough for a guarantee: dp-activations clips.

    Attributes:
        sd: standard deviation of the noise, in units of the activations.
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
        noisy = exact + self.sd * standard_normal(exact, at.chance)
        return replace(message, smashed=noisy.to(message.smashed.dtype))
