"""Leave out random values of the activations."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.draws import uniform
from dtfl_private.protection.release_reading import Reading


@dataclass(frozen=True, kw_only=True)
class Dropout(Defense):
    """Set random activations at the cut to zero, in training and in what is sent (Srivastava et al. 2014).

    The rest are divided by 1 - p, so that means stay. Other values are left out at every release.

    Attributes:
        p: probability of each value to be left out.
    """

    facts: ClassVar[DefenseFacts] = DefenseFacts(
        protects="smashed data",
        acts_on=("activations",),
        cost="accuracy",
        attacker="nothing: the zeros show; several releases of a record fill them in",
    )

    p: Annotated[float, Field(ge=0, lt=1)] = 0.3

    def encode(self, smashed: Tensor, at: ClientRound) -> Tensor:
        """Return the activations without the values that were drawn."""
        kept = (uniform(smashed.shape, at.chance) >= self.p).to(smashed.device)
        return smashed * kept / (1 - self.p)

    def expect(self, smashed: Tensor, at: ClientRound) -> Tensor:
        """Return the activations as they are: what is drawn is read."""
        return smashed

    def read(self, reading: Reading) -> Reading:
        """Return the values that were kept, where the zeros show; under noise, how likely each was left out."""
        if self.p == 0:
            return reading
        whole = reading.scaled(1 - self.p)
        if reading.is_noisy:
            return replace(whole, left_out=1 - (1 - self.p) * (1 - reading.left_out))
        # What does not show may have been left out here, whatever it was.
        return replace(whole, shown=whole.shown & (whole.values != 0), bound=None)
