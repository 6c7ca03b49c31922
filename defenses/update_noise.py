"""Add normal noise to the weights that leave a client."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from dtfl_private.defenses.shared.precision import standard_normal
from dtfl_private.defenses.shared.updates import rewritten
from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protocol.messages import WeightUpdate


@dataclass(frozen=True, kw_only=True)
class UpdateNoise(Defense):
    """Add independent normal noise to every floating-point weight and buffer of client half and auxiliary head.

    Without a bound on what one record changes there is no differential privacy, also not after update-clip, which
    bounds a whole client's change: dp-weights clips the gradient of each record.

    Attributes:
        sd: standard deviation of the noise, in units of the weights.
    """

    facts: ClassVar[DefenseFacts] = DefenseFacts(
        protects="weight updates",
        acts_on=("weights",),
        cost="accuracy",
        attacker="the noise drawn; averages over rounds undo it",
    )

    sd: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3

    def protect_update(self, message: WeightUpdate, at: ClientRound) -> WeightUpdate:
        """Return the update with noise."""
        return rewritten(message, lambda new, _: new + self.sd * standard_normal(new, at.chance), at)
