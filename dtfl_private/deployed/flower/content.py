"""What is in the messages that Flower carries: a few fields, and frames as they are on the wire.

Flower has authenticated who sent a message, and nothing else: fields and frames are checked as if they came from
anybody.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dtfl_private.deployed.wire.errors import WireError
from dtfl_private.deployed.wire.header import Reason
from dtfl_private.printable import shown_value

RECORD, FRAMES = "dtfl", "frames"
"""Names of the two records of a message."""

BLOB_BYTES = 2**26
"""Frames are joined to arrays of about this size, which Flower cuts into pieces."""

MOST_BYTES = 2**31 - 1
"""Bytes of all frames of one message."""

MOST_FRAMES = 1_000_000
_LENGTH_BYTES = 8
_STYPE = "dtfl-frames"

ClientNumber = Annotated[int, Field(ge=0, lt=2**31)]


class _Fields(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    schema_version: Literal[1] = 1


class Invitation(_Fields):
    """Tells a client to open a session.

    Attributes:
        client: its number.
        address: of the server, HOST:PORT.
        authority: certificate of the authority that has issued the server's, PEM: no other is trusted.
        token: by which the server recognises the client, once.
    """

    what: Literal["session"] = "session"
    client: ClientNumber
    address: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:\[\]-]{1,300}:[0-9]{1,5}$")]
    authority: Annotated[str, Field(max_length=2**16)] = Field(repr=False)
    token: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{20,200}$")] = Field(repr=False)


class Turn(_Fields):
    """Brings a client the server's frames; it answers with its own in the reply.

    Attributes:
        client: its number.
    """

    what: Literal["turn"] = "turn"
    client: ClientNumber


class Answer(_Fields):
    """What became of an invitation, or of a turn.

    Attributes:
        outcome: ``ended``: the run is over; ``done``: all of the turn's frames are answered; ``lost``: the session has
            ended before; ``refused``: the client or the server wants no part in it.
        why: in a few words.
    """

    what: Literal["answer"] = "answer"
    outcome: Literal["ended", "done", "lost", "refused"]
    why: Reason = ""


F = TypeVar("F", bound=_Fields)


def written(fields: BaseModel, frames: Sequence[bytes] = ()) -> Any:
    """Return fields and frames as a message's content, Flower's ``RecordDict``."""
    from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

    arrays = {str(number): Array("uint8", (len(blob),), _STYPE, blob) for number, blob in enumerate(packed(frames))}
    return RecordDict({RECORD: ConfigRecord(fields.model_dump()), FRAMES: ArrayRecord(arrays)})


def read(content: Any, *kinds: type[F], largest: int) -> tuple[F, list[bytes]]:
    """Return fields and frames of a message's content.

    Args:
        content: Flower's ``RecordDict``.
        kinds: of fields that may come.
        largest: bytes that a frame may have.

    Raises:
        WireError: it holds anything else.
    """
    if sorted(content) != sorted((RECORD, FRAMES)):
        raise WireError(f"message: records {shown_value(sorted(map(str, content)))}, expected {RECORD} and {FRAMES}")
    record, arrays = content[RECORD], content[FRAMES]
    if type(record).__name__ != "ConfigRecord" or type(arrays).__name__ != "ArrayRecord":
        raise WireError(f"message: '{RECORD}' is a {type(record).__name__}, '{FRAMES}' a {type(arrays).__name__}")
    return _fields(dict(record), kinds), unpacked(_blobs(arrays), largest=largest)


def _fields(values: Mapping[str, Any], kinds: Sequence[type[F]]) -> F:
    what = values.get("what")
    for kind in kinds:
        if what == kind.model_fields["what"].default:
            try:
                return kind.model_validate(values)
            except ValidationError as error:
                # Without what was given: a token is among it.
                first = error.errors(include_url=False, include_input=False, include_context=False)[0]
                where = ".".join(map(str, first["loc"]))
                raise WireError(f"message: {what}: {shown_value(where)} is refused: {first['msg']}") from None
    known = ", ".join(str(kind.model_fields["what"].default) for kind in kinds)
    raise WireError(f"message: of kind {shown_value(what)}, expected {known}")


def _blobs(arrays: Mapping[str, Any]) -> Iterator[bytes]:
    names = [str(number) for number in range(len(arrays))]
    if set(arrays) != set(names):
        raise WireError(f"message: arrays {shown_value(sorted(arrays)[:4])}, expected 0 to {len(arrays) - 1}")
    for name in names:
        if arrays[name].stype != _STYPE:
            raise WireError(f"message: array {name} is of {shown_value(arrays[name].stype)}, expected {_STYPE}")
        yield arrays[name].data


def packed(frames: Sequence[bytes]) -> Iterator[bytes]:
    """Yield frames joined to blobs, each frame behind its length (eight bytes, little-endian).

    Raises:
        WireError: they are more than one message may have.
    """
    total = sum(map(len, frames))
    if total > MOST_BYTES or len(frames) > MOST_FRAMES:
        raise WireError(f"message: {len(frames):,} frames of {total:,} bytes, at most {MOST_BYTES:,} are sent")
    held: list[bytes] = []
    size = 0
    for frame in frames:
        held += [len(frame).to_bytes(_LENGTH_BYTES, "little"), frame]
        size += len(frame)
        if size >= BLOB_BYTES:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


def unpacked(blobs: Iterator[bytes], *, largest: int) -> list[bytes]:
    """Return the frames in blobs.

    Args:
        blobs: in order.
        largest: bytes that a frame may have.

    Raises:
        WireError: they are not made of whole frames, or of too many or too large ones.
    """
    frames: list[bytes] = []
    for blob in blobs:
        start = 0
        while start < len(blob):
            begin = start + _LENGTH_BYTES
            size = int.from_bytes(blob[start:begin], "little")
            start = begin + size
            if begin > len(blob) or start > len(blob):
                raise WireError(f"message: a frame of {size:,} bytes in a blob of {len(blob):,}")
            if size > largest:
                raise WireError(f"message: a frame of {size:,} bytes, at most {largest:,} are read")
            if len(frames) >= MOST_FRAMES:
                raise WireError(f"message: more than {MOST_FRAMES:,} frames")
            frames.append(blob[begin:start])
    return frames
