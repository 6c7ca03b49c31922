"""Limit how far a client's weights may move in a round."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from dtfl_private.defenses.shared.updates import changes, download_of, rewritten
from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protocol.messages import WeightUpdate


@dataclass(frozen=True, kw_only=True)
class UpdateClip(Defense):
    """Scale a client's change of weights down to a Euclidean norm of ``norm`` at most.

    The norm is that of all floating-point weights and buffers of client half and auxiliary head together. Clipping
    alone is no differential privacy.

    Attributes:
        norm: greatest norm of the change.
    """

    facts: ClassVar[DefenseFacts] = DefenseFacts(
        protects="weight updates, by limiting what one client changes",
        acts_on=("weights",),
        cost="slower training where it limits",
        attacker="nothing: it is not random",
    )

    norm: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0

    def protect_update(self, message: WeightUpdate, at: ClientRound) -> WeightUpdate:
        """Return the update with its change scaled down."""
        moved = sum(float(change.double().square().sum()) for change in changes(message, download_of(at))) ** 0.5
        if moved <= self.norm:
            return message
        share = self.norm / moved
        return rewritten(message, lambda new, old: old + share * (new - old), at)
