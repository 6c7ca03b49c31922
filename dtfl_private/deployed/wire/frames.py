"""A frame as bytes: magic, schema version, a header in canonical JSON, and the tensors.

    DTFL | schema version, u16 | length of the header, u32 | header, UTF-8 | safetensors, may be empty

Numbers are little-endian. Nothing in it is code, and reading one takes memory of a small multiple of ``largest`` at
most, whatever it says.
"""

import json
import struct
from typing import Any

from pydantic import ValidationError

from dtfl_private.deployed.wire.errors import WireError
from dtfl_private.deployed.wire.header import Header
from dtfl_private.deployed.wire.headers import HEADERS
from dtfl_private.deployed.wire.kinds import KINDS, Side, WireMessage
from dtfl_private.deployed.wire.tensors import read_tensors, write_tensors
from dtfl_private.files import reading
from dtfl_private.printable import shown_value

__all__ = ["FIRST_LARGEST", "SCHEMA", "WireError", "decode", "encode"]

MAGIC = b"DTFL"
SCHEMA = 1
LARGEST_HEADER_BYTES = 2**16
FIRST_LARGEST = 2**21
"""Bytes of the largest frame before a `Welcome` has said it: room for a configuration."""

_START = struct.Struct("<4sHI")


def encode(message: WireMessage) -> bytes:
    """Return a frame as it is sent.

    Raises:
        WireError: it holds what the schema has no place for.
    """
    try:
        header, tensors = HEADERS[message.kind].of(message)
    except ValidationError as error:
        raise WireError(_first(message.kind, error)) from None
    text = _canonical(header)
    if len(text) > LARGEST_HEADER_BYTES:
        raise WireError(f"header: {len(text):,} bytes: at most {LARGEST_HEADER_BYTES:,} are sent")
    return b"".join((_START.pack(MAGIC, SCHEMA, len(text)), text, write_tensors(tensors)))


def decode(data: bytes, *, from_: Side, largest: int) -> WireMessage:
    """Return what a frame says, as yet unchecked against the run: that is for `dtfl_private.deployed.wire.checks`.

    Args:
        data: the frame.
        from_: which side sent it.
        largest: bytes that a frame may have, and its activations once unpacked.

    Raises:
        WireError: it is no frame of this schema that this side sends.
    """
    if len(data) > largest:
        raise WireError(f"frame: {len(data):,} bytes: at most {largest:,} are read")
    text, blob = _parts(data)
    header = _parse(text, from_)
    try:
        return header.frame(read_tensors(blob), largest)
    except ValueError as error:  # a `WireError`, or a message that cannot be, as its own class says
        raise WireError(f"{header.kind}: {error}") from None


def _parts(data: bytes) -> tuple[bytes, bytes]:
    """Return the header and the tensors of a frame."""
    if len(data) < _START.size:
        raise WireError(f"frame: {len(data)} bytes, of which the first {_START.size} say what it is")
    magic, schema, header_bytes = _START.unpack_from(data)
    if magic != MAGIC:
        raise WireError(f"magic {shown_value(magic)}: not a frame of dtfl-private, which begins with {MAGIC!r}")
    if schema != SCHEMA:
        raise WireError(f"schema version {schema}, this side speaks {SCHEMA}: install the same version on both sides")
    end = _START.size + header_bytes
    if header_bytes > LARGEST_HEADER_BYTES or end > len(data):
        raise WireError(
            f"header: {header_bytes:,} bytes are announced: at most {LARGEST_HEADER_BYTES:,} are read, "
            f"and {len(data) - _START.size:,} follow"
        )
    return data[_START.size : end], data[end:]


def _parse(text: bytes, from_: Side) -> Header:
    """Return a header that is written as this schema writes it."""
    try:
        values = reading.parse_json(text, unique_keys=True)
    except ValueError as error:
        raise WireError(f"header: {reading.reason(error)}") from None
    kind = values.get("kind") if isinstance(values, dict) else None
    if not isinstance(kind, str) or kind not in HEADERS:
        raise WireError(f"kind {shown_value(kind)}: unknown; known are {', '.join(HEADERS)}")
    if KINDS[kind].by != from_:
        raise WireError(f"kind '{kind}': a {from_} never sends it")
    try:
        header = HEADERS[kind].model_validate(values)
    except ValidationError as error:
        raise WireError(_first(kind, error)) from None
    if _canonical(header) != text:
        raise WireError(f"{kind}: the header is not canonical JSON: keys sorted, no spaces, numbers in one spelling")
    return header


def _canonical(header: Header) -> bytes:
    return json.dumps(header.model_dump(), sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _first(kind: str, error: ValidationError) -> str:
    """Return the first reason of a schema, in words."""
    first: Any = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(map(str, first["loc"][:3]))
    return f"{kind}: {shown_value(where)}={shown_value(first['input'])} is refused: {first['msg']}"
