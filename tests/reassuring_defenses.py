"""What defenses under reassuring names have in common, for tests of attacks and of audits."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protocol.messages import SmashedBatch

KEY = 20261128


def of_the_key(beside: int = 0) -> torch.Generator:
    """Return a stream whose key is in the code, for everybody to see, or made of it and a number that is sent, too."""
    return torch.Generator().manual_seed(KEY + beside)


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


@dataclass(frozen=True, kw_only=True)
class Sealing(Defense):
    """Shuffle the values of each record, and flip signs, by a key that everybody can work out from the message."""

    facts: ClassVar[DefenseFacts] = DefenseFacts(protects="everything, so its name says", acts_on=("smashed",))

    def keys(self, message: SmashedBatch) -> list[int]:
        """Return the key of each record."""
        raise NotImplementedError

    def protect_batch(self, message: SmashedBatch, at: ClientRound) -> SmashedBatch:
        """Return the message with its records sealed."""
        pairs = zip(message.smashed, self.keys(message), strict=True)
        return replace(message, smashed=torch.stack([_sealed(record, key) for record, key in pairs]))


def _sealed(record: Tensor, key: int) -> Tensor:
    stream, values = of_the_key(key), record.numel()
    order, signs = torch.randperm(values, generator=stream), torch.randint(2, (values,), generator=stream)
    return (record.flatten()[order] * (1 - 2 * signs)).view_as(record)


class QuantumSeal(Sealing):
    """The key is the record's label."""

    def keys(self, message: SmashedBatch) -> list[int]:
        """Return the labels."""
        keys: list[int] = message.labels.tolist()
        return keys


class RollingSeal(Sealing):
    """The key is the number of the batch, and the row within it."""

    def keys(self, message: SmashedBatch) -> list[int]:
        """Return a number for each place of the round."""
        return [1000 * message.batch + row for row in range(len(message.labels))]
