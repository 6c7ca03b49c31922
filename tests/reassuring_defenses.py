"""What defenses under reassuring names have in common, for tests of attacks and of audits."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protocol.messages import SmashedBatch

KEY = 20261128


def of_the_key() -> torch.Generator:
    """Return a stream whose key is in the code, for everybody to see."""
    return torch.Generator().manual_seed(KEY)


@dataclass(frozen=True, kw_only=True)
class Rewriting(Defense):
    """Send something else in the place of the activations."""

    facts: ClassVar[DefenseFacts] = DefenseFacts(protects="everything, so its name says", acts_on=("smashed",))

    def rewritten(self, smashed: Tensor, at: ClientRound) -> Tensor:
        """Return what is sent."""
        raise NotImplementedError

    def protect_batch(self, message: SmashedBatch, at: ClientRound) -> SmashedBatch:
        """Return the message with what is sent."""
        return replace(message, smashed=self.rewritten(message.smashed, at))


class MilitaryGradeVault(Rewriting):
    """Do nothing."""

    def rewritten(self, smashed: Tensor, at: ClientRound) -> Tensor:
        """Return the activations."""
        return smashed
