"""The tensors of a frame: a safetensors blob, whose sizes are checked against what is there before they are used."""

import math
import unicodedata
from collections.abc import Mapping
from typing import Annotated, Literal, NoReturn

import safetensors
import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from torch import Tensor

from dtfl_private.deployed.wire.errors import WireError
from dtfl_private.files import reading
from dtfl_private.printable import shown_value
from dtfl_private.protocol.messages import State

LARGEST_TABLE_BYTES = 2**20
"""Of the table of tensors: gpt2-xl's has a tenth of it."""

MOST_TENSORS = 10_000
LONGEST_NAME = 200
MOST_AXES = 8
MOST_VALUES = 2**40

DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""What may be sent, by safetensors' names."""

Size = Annotated[int, Field(ge=0, le=2**40)]


class _Entry(BaseModel):
    """What the table says of a tensor."""

    model_config = ConfigDict(strict=True, extra="forbid")

    dtype: Literal["F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"]
    shape: Annotated[list[Size], Field(max_length=MOST_AXES)]
    data_offsets: Annotated[list[Size], Field(min_length=2, max_length=2)]


_TABLE = TypeAdapter(dict[str, _Entry])


def write_tensors(tensors: State) -> bytes:
    """Return tensors as they are sent; nothing at all where there are none.

    Raises:
        WireError: there are too many, or one has a name or type that is not read.
    """
    if not tensors:
        return b""
    _check_count(len(tensors))
    for name, tensor in tensors.items():
        _check_name(name)
        if tensor.dtype not in DTYPES.values() or tensor.ndim > MOST_AXES:
            raise WireError(f"tensors: {name} of {tensor.dtype} and {tensor.ndim} axes is never sent")
    seen: set[int] = set()
    return safetensors.torch.save({name: _own_memory(tensor, seen) for name, tensor in tensors.items()})


def _own_memory(tensor: Tensor, seen: set[int]) -> Tensor:
    """Return a tensor as safetensors takes it: contiguous, and of memory that no other of the frame has."""
    sent = tensor.detach().cpu().contiguous()
    address = sent.untyped_storage().data_ptr()
    if address in seen:
        return sent.clone()
    seen.add(address)
    return sent


def read_tensors(blob: bytes) -> dict[str, Tensor]:
    """Return the tensors of a blob, in memory of their own.

    Raises:
        WireError: its table does not describe exactly the bytes that follow it, or holds what is never sent.
    """
    if not blob:
        return {}
    table_bytes = int.from_bytes(blob[:8], "little")
    if len(blob) < 8 or table_bytes > len(blob) - 8:
        raise WireError(f"tensors: a table of {table_bytes:,} bytes in {len(blob):,} bytes")
    if table_bytes > LARGEST_TABLE_BYTES:
        raise WireError(f"tensors: a table of {table_bytes:,} bytes: at most {LARGEST_TABLE_BYTES:,} are read")
    _check_table(_parse_table(blob[8 : 8 + table_bytes]), len(blob) - 8 - table_bytes)
    try:
        return safetensors.torch.load(blob)  # numbers only: safetensors hold no code
    except safetensors.SafetensorError as error:
        _damaged(error)


def _parse_table(text: bytes) -> dict[str, _Entry]:
    try:
        return _TABLE.validate_python(reading.parse_json(text, unique_keys=True))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        raise WireError(f"tensors: {shown_value(first['loc'][:2])} is refused: {first['msg']}") from None
    except ValueError as error:
        _damaged(error)


def _damaged(error: Exception) -> NoReturn:
    raise WireError(f"tensors: unreadable ({reading.reason(error)})") from None


def _check_table(table: Mapping[str, _Entry], data_bytes: int) -> None:
    """Check that the tensors lie one behind the other, and fill the data."""
    _check_count(len(table))
    end = 0
    for name, entry in sorted(table.items(), key=lambda item: item[1].data_offsets):
        _check_name(name)
        start, stop = entry.data_offsets
        size = math.prod(entry.shape) * DTYPES[entry.dtype].itemsize
        if start != end or stop - start != size:
            raise WireError(
                f"tensors: {shown_value(name)} is said to lie at {start:,} to {stop:,}, "
                f"but its shape and dtype are {size:,} bytes from {end:,} on"
            )
        if math.prod(axis or 1 for axis in entry.shape) > MOST_VALUES:  # of no value, with steps that no integer holds
            raise WireError(f"tensors: {shown_value(name)} of shape {entry.shape} is never sent")
        end = stop
    if end != data_bytes:
        raise WireError(f"tensors: {data_bytes:,} bytes follow a table of {end:,}")


def _check_count(tensors: int) -> None:
    if tensors > MOST_TENSORS:
        raise WireError(f"tensors: {tensors:,} of them: at most {MOST_TENSORS:,} are sent")


def _check_name(name: str) -> None:
    """Refuse names that can be written in two ways, or cannot be shown."""
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable() or unicodedata.normalize("NFC", name) != name:
        raise WireError(f"tensors: the name {shown_value(name)} is refused: printable, NFC, 1 to {LONGEST_NAME} long")
