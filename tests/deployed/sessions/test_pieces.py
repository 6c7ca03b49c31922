"""Frames in pieces: the same bytes come out, and no more than were agreed to are held."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtfl_private.deployed.sessions import pieces
from dtfl_private.deployed.sessions.pieces import LAST, MORE, frames_of, pieces_of
from dtfl_private.deployed.wire.errors import WireError


@given(frames=st.lists(st.binary(max_size=40), max_size=5), size=st.integers(1, 12))
def test_frames_come_out_as_they_went_in(frames, size):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pieces, "PIECE_BYTES", size)
        cut = [piece for frame in frames for piece in pieces_of(frame)]
        assert all(len(piece) <= size + 1 for piece in cut)
        assert list(frames_of(cut, lambda: 40)) == frames


def test_a_frame_that_grows_too_large_is_refused_before_it_is_whole(monkeypatch):
    monkeypatch.setattr(pieces, "PIECE_BYTES", 4)

    def endless():
        for _ in range(3):
            yield MORE + b"aaaa"
        raise AssertionError("read on")

    with pytest.raises(WireError, match="a frame of more than 10 bytes"):
        list(frames_of(endless(), lambda: 10))


def test_how_large_a_frame_may_be_can_change_on_the_way():
    most = iter([3, 5])
    assert list(frames_of([LAST + b"abc", LAST + b"abcde"], lambda: next(most))) == [b"abc", b"abcde"]


@pytest.mark.parametrize("piece", [b"", b"\x02abc", b"abc"])
def test_what_is_no_piece_is_refused(piece):
    with pytest.raises(WireError, match="begins with neither 0 nor 1"):
        list(frames_of([piece], lambda: 100))


@pytest.mark.parametrize("size", [0, 3])
def test_small_pieces_that_say_that_more_follow_are_refused(size):
    """Empty ones, without end, would fill the memory without ever making a large frame."""
    with pytest.raises(WireError, match=f"a piece of {size} bytes, before the last"):
        list(frames_of([MORE + bytes(size)], lambda: 100))
