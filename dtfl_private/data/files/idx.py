"""Read IDX files (the format of MNIST and its descendants), plain or gzipped, without trusting them.

Layout: two zero bytes, a type code (0x08 = unsigned byte), the number of dimensions, each dimension as a big-endian
32-bit integer, then the data. http://yann.lecun.com/exdb/mnist
"""

import gzip
import io
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dtfl_private.errors import InputError
from dtfl_private.files.reading import open_regular, reason

UNSIGNED_BYTE = 0x08
MAX_BYTES = 2**31


def read_idx(path: Path, *, dimensions: int) -> NDArray[np.uint8]:
    """Return the unsigned bytes of an IDX file with the given number of dimensions.

    Raises:
        InputError: the file cannot be read, or its magic number, dimensions or size are wrong.
    """
    header_bytes = 4 + 4 * dimensions
    try:
        with (
            open_regular(path, most_bytes=MAX_BYTES + header_bytes) as plain,
            gzip.open(plain) if path.suffix == ".gz" else plain as file,
        ):
            header = file.read(header_bytes)
            shape = _shape(path, header, dimensions)
            size = math.prod(shape)
            # Into the array itself: bytes would have to be copied to become writable.
            data = np.empty(size, dtype=np.uint8)
            filled = _fill(file, data)
            rest = file.read(1)
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read as an IDX file ({reason(error)}): fetch it again") from None
    if filled != size or rest:
        got = f"only {filled}" if filled < size else "more"
        raise InputError(f"{path} is damaged: its header promises {size} bytes of data, it holds {got}: fetch it again")
    return data.reshape(shape)


def _fill(file: io.BufferedIOBase, data: NDArray[np.uint8]) -> int:
    """Read into an array until it is full or the file ends; return how many bytes were read."""
    view, filled = data.data, 0
    while filled < len(view) and (read := file.readinto(view[filled:])):
        filled += read
    return filled


def _shape(path: Path, header: bytes, dimensions: int) -> tuple[int, ...]:
    expected = bytes([0, 0, UNSIGNED_BYTE, dimensions])
    if header[:4] != expected:
        raise InputError(
            f"{path} is damaged: it starts with {header[:4].hex(' ') or 'nothing'}, "
            f"an IDX file of {dimensions} dimensions starts with {expected.hex(' ')}: fetch it again"
        )
    if len(header) != 4 + 4 * dimensions:
        raise InputError(f"{path} is damaged: it ends within its header, after {len(header)} bytes: fetch it again")
    shape = struct.unpack(f">{dimensions}I", header[4:])
    if not 0 < math.prod(shape) <= MAX_BYTES:
        raise InputError(f"{path} is damaged: dimensions {'x'.join(map(str, shape))} are out of range: fetch it again")
    return shape
