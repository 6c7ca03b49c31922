"""Activations in the packed form of a defense or wire format: what is sent, and what the receiver reads from it.

Whoever packs says so in ``SmashedBatch.packed``. That is sent if it unpacks to the message's own values, bit by bit.
Otherwise, and where a defense only counts ``packed_bytes``, the values are sent as they are; the receiver then counts
what came, not what was announced.
"""

import math

import torch
from torch import Tensor

from dtfl_private.deployed.wire.errors import WireError
from dtfl_private.protection import rounding, sparse
from dtfl_private.protocol.messages import SmashedBatch, State
from dtfl_private.protocol.packed import Packed, Quantized, Sparse


def as_sent(message: SmashedBatch) -> Packed | None:
    """Return the packed form in which a message's activations are sent; None: as they are."""
    if message.packed is None:
        return None
    try:
        read = unpacked(message.packed, message.smashed.shape, message.smashed.dtype)
    except WireError:
        return None
    return message.packed if torch.equal(_bits(read), _bits(message.smashed)) else None


def is_packed(message: SmashedBatch) -> bool:
    """Return whether a message takes no more bytes of activations on the wire than it says it does."""
    return message.packed_bytes is None or as_sent(message) is not None


def _bits(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().view(torch.uint8)


def tensors_of(packed: Packed) -> State:
    """Return what is sent of a packed form."""
    if isinstance(packed, Quantized):
        return {"codes": packed.codes, "low": packed.low, "step": packed.step}
    return {"values": packed.values, "indices": packed.indices}


def packed_of(tensors: State, bits: int | None) -> Packed:
    """Return the packed form of the tensors that came, as yet unchecked; ``bits`` of codes, None for sparse records.

    Raises:
        WireError: they are not those of this form.
    """
    names = {"values", "indices"} if bits is None else {"codes", "low", "step"}
    if tensors.keys() != names:
        raise WireError(f"packed activations: {sorted(tensors)} came, expected {sorted(names)}")
    if bits is None:
        return Sparse(values=tensors["values"], indices=tensors["indices"])
    return Quantized(codes=tensors["codes"], low=tensors["low"], step=tensors["step"], bits=bits)


def unpacked(packed: Packed, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """Return the activations (B, ...) of a packed form; the caller has bounded their size.

    Raises:
        WireError: it is not the packed form of activations of this shape and type.
    """
    if isinstance(packed, Quantized):
        return _from_codes(packed, shape, dtype)
    return _from_places(packed, shape, dtype)


def _from_codes(packed: Quantized, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    rows, values = len(packed.low) if packed.low.ndim else 0, math.prod(shape)
    # A row is a record or a channel of one: never a part of a channel, nor of two records.
    if rows < 1 or rows % shape[0] or values % rows or rows // shape[0] not in (1, shape[1]):
        raise WireError(f"packed activations: {rows} rows for a batch of {tuple(shape)}")
    _require("codes", packed.codes, (rows, -(-values // rows * packed.bits // 8)), torch.uint8)
    _require("low", packed.low, (rows,), torch.float32)
    _require("step", packed.step, (rows,), torch.float32)
    like = torch.empty(rows, values // rows, dtype=dtype, device="meta")
    return rounding.unpack(packed, like).reshape(shape)


def _from_places(packed: Sparse, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    values = math.prod(shape[1:])
    kept = packed.values.shape[1] if packed.values.ndim == 2 else 0
    if not 1 <= kept <= values:
        raise WireError(f"packed activations: {tuple(packed.values.shape)} values for a batch of {tuple(shape)}")
    _require("values", packed.values, (shape[0], kept), dtype)
    _require("indices", packed.indices, (shape[0], kept), sparse.index_type(values))
    places = packed.indices.long()
    if bool((places < 0).any() | (places >= values).any() | (places.diff(dim=1) <= 0).any()):
        raise WireError(f"packed activations: places within a record must ascend from 0 to {values - 1} at most")
    return sparse.unpack(packed, shape)


def _require(name: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    if tuple(tensor.shape) != shape or tensor.dtype != dtype:
        raise WireError(
            f"packed activations: {name} are {tensor.dtype} {tuple(tensor.shape)}, expected {dtype} {shape}"
        )


def dense_bytes(shape: torch.Size, dtype: torch.dtype) -> int:
    """Return the bytes of activations as they are once unpacked."""
    return math.prod(shape) * dtype.itemsize
