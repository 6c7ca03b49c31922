"""Records of which only some values are sent, with their places."""

import math

import torch
from torch import Tensor

from dtfl_private.protocol.packed import Sparse


def index_type(values: int) -> torch.dtype:
    """Return the type of the places within a record of so many values."""
    return torch.int16 if values <= 2**15 else torch.int32


def pack(smashed: Tensor, k: int) -> Sparse:
    """Return the k values of greatest magnitude of each record of (B, ...), in the order of their places."""
    rows = smashed.flatten(1)
    indices = rows.abs().topk(k, dim=1).indices.sort(dim=1).values
    return Sparse(values=rows.gather(1, indices), indices=indices.to(index_type(rows.shape[1])))


def unpack(packed: Sparse, shape: torch.Size) -> Tensor:
    """Return the activations (B, ...) that a server reads, zero where nothing was sent."""
    rows = packed.values.new_zeros(shape[0], math.prod(shape[1:]))
    return rows.scatter(1, packed.indices.long(), packed.values).reshape(shape)
