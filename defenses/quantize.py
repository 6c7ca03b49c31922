"""Send the smashed data in 8 or 4 bits a value."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from pydantic import AfterValidator

from dtfl_private.defenses.shared.precision import working
from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.cost import Cut
from dtfl_private.protection.release_reading import Reading
from dtfl_private.protection.rounding import pack, read_rounded, record_bytes, unpack
from dtfl_private.protocol.messages import SmashedBatch


def _known(bits: int) -> int:
    if bits not in (8, 4):
        raise ValueError("use 8 or 4")
    return bits


@dataclass(frozen=True, kw_only=True)
class Quantize(Defense):
    """Send 8 or 4 bits a value, between each record's least and greatest value; the bytes are really packed.

    The client trains on exact activations; the server on the rounded ones.

    Attributes:
        bits: per value, 8 or 4.
    """

    facts: ClassVar[DefenseFacts] = DefenseFacts(
        protects="fine detail of the smashed data",
        acts_on=("smashed",),
        cost="none on the wire: a quarter or an eighth of float32's bytes; little accuracy",
        attacker="nothing: it is not random",
        packs=True,
        refuses_padding="a text has one range for all its places, padding among them; --wire int8 has one for each",
    )

    bits: Annotated[int, AfterValidator(_known)] = 8

    def protect_batch(self, message: SmashedBatch, at: ClientRound) -> SmashedBatch:
        """Return the batch as the server unpacks it, with its packed size."""
        packed = pack(working(message.smashed), self.bits)
        smashed = unpack(packed, message.smashed)
        return replace(message, smashed=smashed, packed_bytes=packed.size_bytes, packed=packed)

    def wire_bytes(self, cut: Cut) -> int:
        """Return the bytes of codes and constants."""
        return record_bytes(cut.cut_values, self.bits)

    def read(self, reading: Reading) -> Reading:
        """Return the values with the noise of rounding; the grid shows, as a record's extremes do."""
        return read_rounded(reading, 1, self.bits)
