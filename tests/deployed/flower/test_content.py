"""What Flower's messages hold: frames as on the wire, and nothing that was not asked for."""

import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from dtfl_private.deployed.flower import content
from dtfl_private.deployed.flower.content import Answer, Invitation, Turn, packed, read, unpacked, written
from dtfl_private.deployed.wire.errors import WireError

TOKEN = "t" * 43
INVITATION = Invitation(client=2, address="fl.example.org:8443", authority="-----BEGIN", token=TOKEN)


@given(st.lists(st.binary(max_size=60), max_size=12), st.integers(1, 40))
def test_frames_come_out_as_they_went_in_however_they_are_joined(frames, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "BLOB_BYTES", size)
        blobs = list(packed(frames))
    assert list(unpacked(iter(blobs), largest=60)) == frames
    assert len(blobs) <= len(frames)


@given(st.binary(max_size=80))
def test_whatever_is_no_frames_is_refused_or_is_read_whole_and_within_bounds(blob):
    try:
        frames = unpacked(iter([blob]), largest=40)
    except WireError:
        return
    assert list(packed(frames)) == ([blob] if blob else [])
    assert all(len(frame) <= 40 for frame in frames)


def test_too_many_and_too_large_frames_are_refused_before_and_after_they_travel(monkeypatch):
    blobs = list(packed([b"12345", b""]))
    with pytest.raises(WireError, match="a frame of 5 bytes, at most 4 are read"):
        unpacked(iter(blobs), largest=4)
    monkeypatch.setattr(content, "MOST_FRAMES", 1)
    with pytest.raises(WireError, match="more than 1 frames"):
        unpacked(iter(blobs), largest=5)
    with pytest.raises(WireError, match="2 frames of 5 bytes"):
        list(packed([b"12345", b""]))
    monkeypatch.setattr(content, "MOST_BYTES", 4)
    with pytest.raises(WireError, match="1 frames of 5 bytes, at most 4"):
        list(packed([b"12345"]))
    with pytest.raises(WireError, match="a frame of 9,000 bytes in a blob of 10"):
        unpacked(iter([(9000).to_bytes(8, "little") + b"ab"]), largest=10_000)


@pytest.mark.parametrize("fields", [INVITATION, Turn(client=0), Answer(outcome="lost", why="it is gone")])
def test_fields_and_frames_come_back_from_flowers_records(fields):
    kinds = (Invitation, Turn, Answer)
    assert read(written(fields, [b"one", b""]), *kinds, largest=10) == (fields, [b"one", b""])
    assert read(written(fields), *kinds, largest=0) == (fields, [])


def hostile_contents():
    good = INVITATION.model_dump()
    arrays = ArrayRecord({})
    yield "records", RecordDict({})
    yield "records", RecordDict({"dtfl": ConfigRecord(good), "frames": arrays, "more": ConfigRecord({})})
    yield "is a MetricRecord", RecordDict({"dtfl": MetricRecord({}), "frames": arrays})
    yield "is a ConfigRecord", RecordDict({"dtfl": ConfigRecord(good), "frames": ConfigRecord({})})
    for key, value in (
        ("what", "turn of another kind"),
        ("schema_version", 2),
        ("client", -1),
        ("client", "2"),
        ("client", True),
        ("address", "no address"),
        ("address", "host:80\n"),
        ("address", "unix:/tmp/socket:1"),
        ("token", "short"),
        ("token", b"bytes"),
        ("authority", "x" * 70_000),
        ("more", 1),
    ):
        yield f"{key}|kind", RecordDict({"dtfl": ConfigRecord({**good, key: value}), "frames": arrays})
    del good["token"]
    yield "token", RecordDict({"dtfl": ConfigRecord(good), "frames": arrays})


@pytest.mark.parametrize(("why", "hostile"), [*hostile_contents()])
def test_what_is_not_asked_for_is_refused_without_quoting_a_token(why, hostile):
    with pytest.raises(WireError, match=why) as refused:
        read(hostile, Invitation, Turn, largest=10)
    assert TOKEN not in str(refused.value)


def test_arrays_of_other_names_or_kinds_are_refused():
    record = ConfigRecord(Turn(client=0).model_dump())
    for why, array, name in (("expected 0 to 0", "dtfl-frames", "1"), ("is of 'numpy.ndarray'", "numpy.ndarray", "0")):
        arrays = ArrayRecord({name: Array("uint8", (1,), array, b"x")})
        with pytest.raises(WireError, match=why):
            read(RecordDict({"dtfl": record, "frames": arrays}), Turn, largest=10)


def test_a_server_is_not_asked_and_a_client_does_not_answer():
    with pytest.raises(WireError, match="of kind 'answer', expected session, turn"):
        read(written(Answer(outcome="done")), Invitation, Turn, largest=0)
    with pytest.raises(WireError, match="of kind 'turn', expected answer"):
        read(written(Turn(client=0)), Answer, largest=0)


def test_a_token_is_not_shown():
    assert TOKEN not in repr(INVITATION)
