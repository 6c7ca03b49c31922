"""Send the smashed data in 8 or 4 bits a value."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from pydantic import AfterValidator
from torch import Tensor

from dtfl_private.defenses.shared.precision import working
from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.cost import Cut
from dtfl_private.protection.release_reading import Reading
from dtfl_private.protocol.messages import SmashedBatch, tensor_bytes


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """Activations as they are sent.

    codes: (B, bytes per record), uint8; with 4 bits the first of two values is in the high half.
    low: (B,), float32, the value of code 0.
    step: (B,), float32, the difference between neighbouring codes.
    bits: 8 or 4.
    """

    codes: Tensor
    low: Tensor
    step: Tensor
    bits: int

    @property
    def size_bytes(self) -> int:
        """Bytes on the wire."""
        return sum(tensor_bytes(tensor) for tensor in (self.codes, self.low, self.step))


def record_bytes(values: int, bits: int) -> int:
    """Return the bytes of one packed record: its codes and two float32 constants."""
    return -(-values * bits // 8) + 8


def pack(smashed: Tensor, bits: int) -> Quantized:
    """Quantise activations (B, ...) to ``2**bits`` even steps between each record's least and greatest value."""
    rows = smashed.flatten(1).float()
    low, high = rows.amin(dim=1), rows.amax(dim=1)
    step = (high - low) / (2**bits - 1)
    divisor = torch.where(step > 0, step, 1)  # a record of equal values: all codes 0
    codes = ((rows - low[:, None]) / divisor[:, None]).round().clamp(0, 2**bits - 1).to(torch.uint8)
    if bits == 4:
        if codes.shape[1] % 2:
            codes = torch.cat([codes, torch.zeros_like(codes[:, :1])], dim=1)
        codes = codes[:, 0::2] * 16 + codes[:, 1::2]
    return Quantized(codes=codes, low=low, step=step, bits=bits)


def unpack(packed: Quantized, like: Tensor) -> Tensor:
    """Return the activations that a server reads, in the shape and type of ``like``."""
    codes = packed.codes
    if packed.bits == 4:
        codes = torch.stack([codes // 16, codes % 16], dim=2).flatten(1)[:, : like[0].numel()]
    rows = packed.low[:, None] + packed.step[:, None] * codes
    return rows.reshape(like.shape).to(like.dtype)


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
    )

    bits: Annotated[int, AfterValidator(_known)] = 8

    def protect_batch(self, message: SmashedBatch, at: ClientRound) -> SmashedBatch:
        """Return the batch as the server unpacks it, with its packed size."""
        packed = pack(working(message.smashed), self.bits)
        return replace(message, smashed=unpack(packed, message.smashed), packed_bytes=packed.size_bytes)

    def wire_bytes(self, cut: Cut) -> int:
        """Return the bytes of codes and constants."""
        return record_bytes(cut.cut_values, self.bits)

    def read(self, reading: Reading) -> Reading:
        """Return the values with the noise of rounding; the grid shows, as a record's extremes do."""
        rows = reading.values.flatten(1)
        step = (rows.amax(dim=1) - rows.amin(dim=1)) / (2**self.bits - 1)
        deviation = (step / math.sqrt(12)).clamp(min=1e-12)
        return reading.noisier(deviation.reshape(-1, *[1] * (reading.values.ndim - 1)), "uniform")
