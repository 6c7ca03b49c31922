"""How large frames of a run are, so that nothing larger is read."""

import math

import torch

from dtfl_private.numerics import Numerics
from dtfl_private.protocol.messages import COUNT_BYTES, Wire
from dtfl_private.simulation.costs.table import TierCost, TierTable

LARGEST_FRAME = 2**31 - 1
"""Bytes of the largest frame of any run: what gRPC sends as one message."""

BESIDE_TENSORS = 2**21
"""For header and table of tensors, at most."""


def read_dtype(wire: Wire | None, numerics: Numerics) -> torch.dtype:
    """Return the type of activations as the server reads them from a wire format; None: the run has none."""
    if wire == "fp32":
        return torch.float32
    return torch.bfloat16 if wire == "bf16" else numerics.wire_dtype


def sent_cut(row: TierCost) -> tuple[int, ...]:
    """Return the shape of a record's smashed data in a tier; empty where none are sent."""
    return row.cut_shape if row.smashed_bytes else ()


def largest_frame(table: TierTable, *, batch_size: int, numerics: Numerics) -> int:
    """Return the bytes of the largest frame of a run: a whole batch at the widest cut, or the weights of a tier.

    They are `LARGEST_FRAME` at most: of a batch that may have more images than a client has, no more can come.

    Args:
        table: the tiers of the run; weights are counted as it counts them.
        batch_size: records of a batch.
        numerics: for the type of activations; float32 may come in a run of any precision.
    """
    value_bytes = max(torch.float32.itemsize, numerics.wire_dtype.itemsize)
    batches = [batch_size * (math.prod(row.cut_shape) * value_bytes + COUNT_BYTES) for row in table.rows]
    return min(max(*batches, *(row.weight_bytes for row in table.rows)) + BESIDE_TENSORS, LARGEST_FRAME)
