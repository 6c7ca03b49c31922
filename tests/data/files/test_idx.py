import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st

from dtfl_private.data.files.idx import read_idx
from dtfl_private.errors import InputError

ARRAY = np.arange(4 * 3 * 2, dtype=np.uint8).reshape(4, 3, 2)


def idx_bytes(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@given(np_st.arrays(np.uint8, np_st.array_shapes(min_dims=1, max_dims=4, max_side=4)), st.sampled_from(["", ".gz"]))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_what_was_written_is_read_back(tmp_path_factory, array, suffix):
    path = written(tmp_path_factory.getbasetemp() / f"round-trip{suffix}", idx_bytes(array))
    read = read_idx(path, dimensions=array.ndim)
    np.testing.assert_array_equal(read, array, strict=True)


def test_the_array_may_be_written_to(tmp_path):
    assert read_idx(written(tmp_path / "a", idx_bytes(ARRAY)), dimensions=3).flags.writeable


def header(*dimensions: int) -> bytes:
    return bytes([0, 0, 8, len(dimensions)]) + struct.pack(f">{len(dimensions)}I", *dimensions)


GOOD = idx_bytes(ARRAY)
DAMAGES = {
    "nothing in it": (b"", "starts with nothing"),
    "another magic number": (b"\x89PNG" + GOOD[4:], "starts with 89 50 4e 47, an IDX file of 3 dimensions starts with"),
    "signed bytes": (b"\0\0\x09\x03" + GOOD[4:], "starts with 00 00 09 03"),
    "labels instead of images": (idx_bytes(ARRAY.ravel()), "starts with 00 00 08 01"),
    "cut within the magic number": (GOOD[:3], "starts with 00 00 08, "),
    "cut within the header": (GOOD[:9], "ends within its header, after 9 bytes"),
    "header and no data": (GOOD[:16], "promises 24 bytes of data, it holds only 0"),
    "one byte missing": (GOOD[:-1], "promises 24 bytes of data, it holds only 23"),
    "one byte too many": (GOOD + b"\0", "promises 24 bytes of data, it holds more"),
    "more images promised": (header(5, 3, 2) + GOOD[16:], "promises 30 bytes of data, it holds only 24"),
    "no images": (header(0, 28, 28), "dimensions 0x28x28 are out of range"),
    "no width": (header(4, 3, 0) + GOOD[16:], "dimensions 4x3x0 are out of range"),
    "terabytes": (header(2**32 - 1, 2**16, 2**16) + GOOD[16:], "dimensions 4294967295x65536x65536 are out of range"),
}


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(("content", "reason"), DAMAGES.values(), ids=DAMAGES)
def test_damaged_content_is_refused_in_one_line_that_names_the_file(tmp_path, content, reason, suffix):
    path = written(tmp_path / f"images{suffix}", content)
    with pytest.raises(InputError) as refusal:
        read_idx(path, dimensions=3)
    assert str(refusal.value).startswith(f"{path} is damaged: ")
    assert reason in str(refusal.value)
    assert str(refusal.value).endswith(": fetch it again")
    assert "\n" not in str(refusal.value)


def corrupt_deflate(packed: bytes) -> bytes:
    # Block type 3 does not exist: the low three bits of the first byte behind the ten of the header.
    return packed[:10] + b"\x07" + packed[11:]


GZIP_DAMAGES = {
    "not gzip": lambda _: GOOD,
    "cut": lambda packed: packed[:-12],
    "cut before the checksum": lambda packed: packed[:-8],
    "wrong checksum": lambda packed: packed[:-8] + struct.pack("<I", zlib.crc32(GOOD) ^ 1) + packed[-4:],
    "invalid block": corrupt_deflate,
}


@pytest.mark.parametrize("damage", GZIP_DAMAGES.values(), ids=GZIP_DAMAGES)
def test_damaged_gzip_is_refused_in_one_line_that_names_the_file(tmp_path, damage):
    path = tmp_path / "images.gz"
    path.write_bytes(damage(gzip.compress(GOOD)))
    with pytest.raises(InputError) as refusal:
        read_idx(path, dimensions=3)
    assert str(refusal.value).startswith(f"{path} cannot be read as an IDX file (")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["missing", "missing.gz", "."])
def test_a_file_that_cannot_be_opened_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="cannot be read as an IDX file"):
        read_idx(tmp_path / name, dimensions=1)
