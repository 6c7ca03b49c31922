"""How smashed data are written on the wire, whatever the defenses: in a floating type, or in 8 or 4 bits a value.

The last thing that is done to a message. The client's own training is untouched; the server trains on what arrives.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from dtfl_private.numerics import Precision
from dtfl_private.protection.release_reading import Reading
from dtfl_private.protection.rounding import pack, read_rounded, record_bytes, unpack
from dtfl_private.protocol.messages import SmashedBatch, Wire

SCHEDULED: tuple[Wire, ...] = ("int4", "int8", "bf16")
"""What a client may be told where the format is scheduled, from the coarsest on."""

FINENESS: tuple[Wire, ...] = ("int4", "int8", "bf16", "fp32")
"""All formats, from the coarsest on."""

BYTES = {"fp32": 4, "bf16": 2}
BITS: dict[str, Literal[8, 4]] = {"int8": 8, "int4": 4}
CHANNEL_VALUES = 8
"""A channel of so many values has a range of its own: with fewer the two float32 would make int8 larger than bf16."""


NamedWire = Literal["fp32", "bf16", "int8", "int4", "scheduled"]
"""A format of all messages, or one that the server names to each client in each round."""


def named_format(wire: Literal["auto"] | NamedWire, precision: Precision) -> NamedWire:
    """Return the format that a configuration names, or "scheduled"; that of ``auto`` follows from the precision."""
    return ("bf16" if precision == "bf16" else "fp32") if wire == "auto" else wire


@dataclass(frozen=True, kw_only=True)
class WireFormat:
    """A format of smashed data.

    ``int8`` and ``int4`` have even steps between the least and the greatest value of each channel of each record, which
    are sent with them as two float32: min-max quantisation by channel (Krishnamoorthi 2018, section 2.1), as split
    learning uses it on activations. A channel is a place of the first axis (of tokens, a token). A record of one axis,
    or of channels of fewer than `CHANNEL_VALUES` values, has one range.
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
            rows = smashed.reshape(len(smashed) * _ranges(smashed.shape[1:]), -1)
            packed = pack(rows.float(), BITS[self.kind])
            written = unpack(packed, rows).reshape(smashed.shape)
            return replace(message, smashed=written, packed_bytes=packed.size_bytes, packed=packed)
        import torch

        dtype = torch.float32 if self.kind == "fp32" else torch.bfloat16
        return replace(message, smashed=smashed.to(dtype))

    def record_bytes(self, cut_shape: tuple[int, ...]) -> int:
        """Return the bytes of one record's activations."""
        values = math.prod(cut_shape)
        if self.kind in BITS:
            ranges = _ranges(cut_shape)
            return ranges * record_bytes(values // ranges, BITS[self.kind])
        return values * BYTES[self.kind]

    def keeps_zero_rows(self, cut_shape: tuple[int, ...]) -> bool:
        """Whether what a row of a record becomes does not depend on rows of zeros, and these stay zeros."""
        return self.kind not in BITS or _ranges(cut_shape) == cut_shape[0]

    def read(self, reading: Reading) -> Reading:
        """Return what the values tell of those that were rounded."""
        if self.kind in BITS:
            return read_rounded(reading, _ranges(reading.values.shape[1:]), BITS[self.kind])
        return reading


def _ranges(shape: Sequence[int]) -> int:
    """Return how many ranges a record of activations has: one for each channel, or one in all."""
    return shape[0] if len(shape) > 1 and math.prod(shape[1:]) >= CHANNEL_VALUES else 1
