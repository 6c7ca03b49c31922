"""Send the largest of each record's activations only."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field

from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.cost import Cut
from dtfl_private.protection.release_reading import Reading
from dtfl_private.protection.sparse import index_type, pack, unpack
from dtfl_private.protocol.messages import SmashedBatch


@dataclass(frozen=True, kw_only=True)
class TopK(Defense):
    """Send each record's activations of greatest magnitude with their places, and nothing of the others.

    The client trains on all activations; the server reads zeros where nothing was sent.

    Attributes:
        share: of the values that are sent, at least one.
    """

    facts: ClassVar[DefenseFacts] = DefenseFacts(
        protects="small values of the smashed data",
        acts_on=("smashed",),
        cost="a selection; values and places are sent: fewer bytes unless the share is above about two thirds",
        attacker="nothing: it is not random",
        packs=True,
        refuses_padding="the same number of values is sent of each text, however many places are padding",
    )

    share: Annotated[float, Field(gt=0, le=1)] = 0.1

    def _kept(self, values: int) -> int:
        return max(1, round(self.share * values))

    def protect_batch(self, message: SmashedBatch, at: ClientRound) -> SmashedBatch:
        """Return the batch as the server unpacks it, with its packed size."""
        shape = message.smashed.shape
        packed = pack(message.smashed, self._kept(math.prod(shape[1:])))
        return replace(message, smashed=unpack(packed, shape), packed_bytes=packed.size_bytes, packed=packed)

    def wire_bytes(self, cut: Cut) -> int:
        """Return the bytes of values and places."""
        value_bytes = cut.smashed_bytes // cut.cut_values
        return self._kept(cut.cut_values) * (value_bytes + index_type(cut.cut_values).itemsize)

    def read(self, reading: Reading) -> Reading:
        """Return the values that were sent; what was not is no greater than the least of them."""
        if reading.is_noisy:  # what was not sent is under noise, and may be anything
            return reading
        sent = reading.values != 0
        records = (-1, *[1] * (reading.values.ndim - 1))
        # A record with fewer values than are sent has sent zeros too: the others are zeros as well.
        whole = sent.flatten(1).sum(dim=1) < self._kept(reading.values[0].numel())
        least = torch.where(sent, reading.values.abs(), torch.inf).flatten(1).amin(dim=1)
        return replace(
            reading,
            shown=reading.shown & (sent | whole.reshape(records)),
            bound=torch.where(whole, 0, least).reshape(records),
        )
