"""Activations rounded to 8 or 4 bits a value, between the least and the greatest of each row, and really packed."""

import math

import torch
from torch import Tensor

from dtfl_private.protection.release_reading import Reading
from dtfl_private.protocol.packed import Quantized


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
    """Return the activations that a server reads, in the shape and type of ``like``, whose values do not matter."""
    codes = packed.codes
    if packed.bits == 4:
        codes = torch.stack([codes // 16, codes % 16], dim=2).flatten(1)[:, : like[0].numel()]
    rows = packed.low[:, None] + packed.step[:, None] * codes
    return rows.reshape(like.shape).to(like.dtype)


def read_rounded(reading: Reading, channels: int, bits: int) -> Reading:
    """Return what rounded values tell: the grid shows, as each row's extremes do, so that the error is within a step.

    Args:
        reading: of the values (B, ...).
        channels: rows of a record, each of which has a grid of its own: those of its first axis, or 1.
        bits: per value.
    """
    values = reading.values
    rows = values.reshape(len(values), channels, -1)
    step = (rows.amax(dim=2) - rows.amin(dim=2)) / (2**bits - 1)
    deviation = (step / math.sqrt(12)).clamp(min=1e-12)
    return reading.noisier(deviation.reshape(len(values), channels, *[1] * (values.ndim - 2)), "uniform")
