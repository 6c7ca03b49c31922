"""Frames cut into pieces for the network, and put together again: a large one must not hold up all others."""

from collections.abc import Callable, Iterable, Iterator

from dtfl_private.deployed.wire.errors import WireError

PIECE_BYTES = 4 * 2**20
"""Bytes of a piece: gRPC is fastest with messages of 1 to 10 MB."""

MORE, LAST = b"\x01", b"\x00"


def pieces_of(frame: bytes) -> Iterator[bytes]:
    """Yield a frame in pieces; the first byte of each says whether more of the frame follow."""
    view = memoryview(frame)
    for start in range(0, max(len(frame), 1), PIECE_BYTES):
        part = view[start : start + PIECE_BYTES]
        yield (LAST if start + PIECE_BYTES >= len(frame) else MORE) + bytes(part)


def frames_of(pieces: Iterable[bytes], largest: Callable[[], int]) -> Iterator[bytes]:
    """Yield the frames that pieces make up.

    Args:
        pieces: as they arrive.
        largest: returns how many bytes a frame may have now.

    Raises:
        WireError: a frame would be larger than that, or a piece is none.
    """
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        mark = piece[:1]
        if mark not in (MORE, LAST):
            raise WireError("a piece of a frame begins with neither 0 nor 1")
        if mark == MORE and len(piece) - 1 != PIECE_BYTES:  # empty ones without end would fill the memory
            raise WireError(f"a piece of {len(piece) - 1:,} bytes, before the last of a frame each has {PIECE_BYTES:,}")
        size += len(piece) - 1
        if size > (most := largest()):
            raise WireError(f"a frame of more than {most:,} bytes")
        held.append(piece[1:])
        if mark == LAST:
            yield held[0] if len(held) == 1 else b"".join(held)
            held, size = [], 0
