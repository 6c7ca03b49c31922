"""How smashed data are written on the wire, whatever the defenses: in a floating type, or in 8 or 4 bits a value.

The last thing that is done to a message. The client's own training is untouched; the server trains on what arrives.
"""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from dtfl_private.protection.release_reading import Reading
from dtfl_private.protection.rounding import pack, read_rounded, record_bytes, unpack
from dtfl_private.protocol.messages import SmashedBatch, Wire

if TYPE_CHECKING:
    from torch import Tensor

SCHEDULED: tuple[Wire, ...] = ("int4", "int8", "bf16")
"""What a client may be told where the format is scheduled, from the coarsest on."""

BYTES = {"fp32": 4, "bf16": 2}
BITS: dict[str, Literal[8, 4]] = {"int8": 8, "int4": 4}


@dataclass(frozen=True, kw_only=True)
class WireFormat:
    """A format of smashed data.

    ``int8`` and ``int4`` have even steps between the least and the greatest value of each channel of each record (of
    each record, where it has one axis), which are sent with them as two float32: min-max quantisation by channel
    (Krishnamoorthi 2018, section 2.1), as split learning uses it on activations.
    """

    kind: Wire

    def sent(self, message: SmashedBatch) -> SmashedBatch:
        """Return a message as the server reads it, with its packed size.

        What a defense has packed is smaller already, and stays as it is.
        """
        if message.packed_bytes is not None:
            return message
        smashed = message.smashed
        if self.kind in BITS:
            packed = pack(_rows(smashed.float()), BITS[self.kind])
            written = unpack(packed, _rows(smashed)).reshape(smashed.shape)
            return replace(message, smashed=written, packed_bytes=packed.size_bytes)
        import torch

        dtype = torch.float32 if self.kind == "fp32" else torch.bfloat16
        return replace(message, smashed=smashed.to(dtype))

    def record_bytes(self, cut_shape: tuple[int, ...]) -> int:
        """Return the bytes of one record's activations."""
        values = math.prod(cut_shape)
        if self.kind in BITS:
            channels = cut_shape[0] if len(cut_shape) > 1 else 1
            return channels * record_bytes(values // channels, BITS[self.kind])
        return values * BYTES[self.kind]

    def read(self, reading: Reading) -> Reading:
        """Return what the values tell of those that were rounded."""
        if self.kind in BITS:
            shape = reading.values.shape[1:]
            return read_rounded(reading, shape[0] if len(shape) > 1 else 1, BITS[self.kind])
        return reading


def _rows(smashed: "Tensor") -> "Tensor":
    """Return activations (B, C, ...) as rows (B C, values of a channel); of one axis (B, D) as they are."""
    return smashed.flatten(0, 1).flatten(1) if smashed.ndim > 2 else smashed
