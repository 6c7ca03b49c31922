"""Thousands of frames that are nearly right: refused in one line, or read for what they say; in bounded memory."""

import copy
import json
import random
import struct
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dtfl_private.deployed.wire import kinds
from dtfl_private.deployed.wire.frames import WireError, decode, encode
from dtfl_private.deployed.wire.headers import HEADERS
from dtfl_private.deployed.wire.tensors import LARGEST_TABLE_BYTES, read_tensors, write_tensors
from dtfl_private.protection.sparse import pack, unpack
from dtfl_private.protection.wire_format import WireFormat
from dtfl_private.protocol.messages import (
    ChannelScale,
    ChannelSums,
    ClassCounts,
    ClassWeights,
    ModelDownload,
    SmashedBatch,
    WeightUpdate,
)
from tests.deployed.wire.frame_samples import same
from tests.hostile.spoiling import PLANTED, VALUES

LARGEST = 2**14
OF_EACH = 250


def _smashed(kind: str) -> SmashedBatch:
    smashed = torch.randn(3, 4, 3, 3, generator=torch.Generator().manual_seed(1))
    said = SmashedBatch(client=1, round=2, tier=3, batch=0, smashed=smashed, labels=torch.arange(3))
    if kind == "top-k":
        packed = pack(smashed, 5)
        return SmashedBatch(
            client=1,
            round=2,
            tier=3,
            batch=0,
            smashed=unpack(packed, smashed.shape),
            labels=torch.arange(3),
            packed_bytes=packed.size_bytes,
            packed=packed,
        )
    return WireFormat(kind=kind).sent(said)  # type: ignore[arg-type]  # one of its names


WEIGHTS = {"conv.weight": torch.randn(2, 1, 3, 3), "bn.num_batches_tracked": torch.tensor(7), "empty": torch.ones(0, 2)}
DOWNLOAD = ModelDownload(client=1, round=2, tier=3, weights=WEIGHTS, head={"fc.bias": torch.ones(4)}, wire="int8")
UPDATE = WeightUpdate(client=1, round=2, tier=3, examples=9, weights=WEIGHTS, head={})
WHOLE = torch.arange(3)
FRAMES: dict[str, kinds.WireMessage] = {
    "hello": kinds.Hello(version="1.0", config_sha256="ab" * 32, last_run="run"),
    "register": kinds.Register(session=1, images=9),
    "channel-sums": kinds.Sums(session=1, message=ChannelSums(client=1, pixels=9, sums=WHOLE, squares=WHOLE)),
    "class-counts": kinds.Counts(session=1, message=ClassCounts(client=1, counts=WHOLE)),
    "probed": kinds.Probed(session=1, batch_s=0.25, images=3),
    **{
        f"smashed, {kind}": kinds.Smashed(session=1, message=_smashed(kind))
        for kind in ("fp32", "bf16", "int8", "int4")
    },
    "smashed, top-k": kinds.Smashed(session=1, message=_smashed("top-k")),
    "update": kinds.Update(session=1, message=UPDATE, compute_s=1.5, images=9),
    "withdrawn": kinds.Withdrawn(session=1, round=2, reason="the ledger is spent"),
    "echo": kinds.Echo(session=1, number=1, payload=b"abc"),
    "welcome": kinds.Welcome(
        session=1,
        run="run",
        client=1,
        config="rounds = 3\n",
        config_sha256="ab" * 32,
        largest=LARGEST,
        classes=("a", "b"),
        input_shape=(1, 8, 8),
    ),
    "refused": kinds.Refused(reason="another version"),
    "scale": kinds.Scale(session=1, message=ChannelScale(client=1, mean=torch.ones(3), deviation=torch.ones(3))),
    "class-weights": kinds.ClassScale(session=1, message=ClassWeights(client=1, weights=torch.ones(3))),
    "probe": kinds.Probe(session=1, message=DOWNLOAD, lr=0.1),
    "open-round": kinds.OpenRound(session=1, message=DOWNLOAD, lr=0.1, batches=3, profile="slow", deadline_s=9.5),
    "finish": kinds.Finish(session=1, round=2),
    "closed": kinds.Closed(session=1, round=2, accepted=True),
    "measure": kinds.Measure(session=1, number=1, payload=b"abc", reply_bytes=3),
    "goodbye": kinds.Goodbye(session=1, reason="all rounds are done"),
}
DATA = {name: encode(frame) for name, frame in FRAMES.items()}


def parts(data: bytes) -> tuple[bytes, bytes]:
    end = 10 + int.from_bytes(data[6:10], "little")
    return data[10:end], data[end:]


def joined(header: bytes, blob: bytes) -> bytes:
    return struct.pack("<4sHI", b"DTFL", 1, len(header)) + header + blob


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def places(thing: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = thing.items() if isinstance(thing, dict) else enumerate(thing) if isinstance(thing, list) else ()
    for key, value in inner:
        yield (*above, key)
        yield from places(value, (*above, key))


def with_another_value(chance: random.Random, document: Any) -> bytes:
    """Return a document as canonical JSON in which one value is another, is gone, or stands twice."""
    changed = copy.deepcopy(document)
    *above, last = chance.choice(list(places(document)))
    inner = changed
    for key in above:
        inner = inner[key]
    match chance.randrange(4):
        case 0:
            del inner[last]
        case 1 if isinstance(inner, dict):
            text = canonical(changed)
            key = json.dumps(last).encode() + b":"
            return text.replace(key, key + b"0," + key, 1)
        case 2 if isinstance(inner[last], int):
            inner[last] += chance.choice([-1, 1, 2**31, 2**62])
        case _:
            inner[last] = chance.choice(VALUES)
    return canonical(changed)


def spoiled(chance: random.Random, data: bytes) -> bytes:
    """Return a frame that is nearly this one."""
    header, blob = parts(data)
    other_header, other_blob = parts(chance.choice(list(DATA.values())))
    place = chance.randrange(len(data))
    match chance.randrange(10):
        case 0 | 1:
            flipped = bytearray(data)
            for _ in range(chance.choice([1, 1, 2, 8])):
                flipped[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            return bytes(flipped)
        case 2:
            return data[:place]
        case 3:
            return data + chance.randbytes(chance.choice([1, 8, 100]))
        case 4:
            return joined(header, other_blob) if chance.randrange(2) else joined(other_header, blob)
        case 5:
            return data[:place] + chance.choice(PLANTED) + data[place + chance.randrange(9) :]
        case 6:
            length = chance.choice([0, 1, len(data), 2**16, 2**31, 2**32 - 1])
            return data[:6] + struct.pack("<I", length) + data[10:]
        case 7 if blob:
            return joined(header, struct.pack("<Q", chance.choice([0, 1, len(blob), 2**40, 2**64 - 1])) + blob[8:])
        case 8 if blob:
            end = 8 + int.from_bytes(blob[:8], "little")
            table = with_another_value(chance, json.loads(blob[8:end]))
            return joined(header, struct.pack("<Q", len(table)) + table + blob[end:])
        case _:
            return joined(with_another_value(chance, json.loads(header)), blob)


class LargestResult(TorchDispatchMode):
    """Notes the bytes of the largest tensor that any operation of torch makes."""

    largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.device.type != "meta":
            self.largest = max(self.largest, result.untyped_storage().nbytes())
        return result


@pytest.mark.parametrize("name", FRAMES)
def test_frames_that_are_nearly_right_are_refused_or_read_in_bounded_memory(name):
    chance = random.Random(name)
    refused: list[str] = []
    with LargestResult() as results:
        for _ in range(OF_EACH):
            data = spoiled(chance, DATA[name])
            try:
                frame = decode(data, from_=FRAMES[name].by, largest=LARGEST)
            except WireError as error:
                refused.append(str(error))
            else:
                assert same(decode(encode(frame), from_=frame.by, largest=LARGEST), frame)
    assert all(line.isprintable() and len(line) < 2000 for line in refused)
    assert OF_EACH // 2 < len(refused) < OF_EACH  # spoiled indeed, and not beyond what is read
    assert results.largest <= 4 * LARGEST


@pytest.mark.parametrize(
    ("shape", "form"),
    [
        ([2**50, 2**50], "values"),
        ([4096, 1024], "codes4"),
        ([4, 2**20], "places"),
        ([1] * 8, "places"),
        ([1, 0], "values"),
    ],
)
def test_a_header_that_announces_more_than_a_frame_holds_takes_no_memory(shape, form):
    header, blob = parts(DATA["smashed, top-k"])
    data = joined(canonical({**json.loads(header), "shape": shape, "form": form}), blob)
    with LargestResult() as results, pytest.raises(WireError, match=r"^smashed: "):
        decode(data, from_="client", largest=LARGEST)
    assert results.largest <= LARGEST


def table(entries: dict[str, Any], data: bytes) -> bytes:
    text = canonical(entries)
    return struct.pack("<Q", len(text)) + text + data


def entry(start: int, stop: int, shape: list[int], dtype: str = "U8") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


@pytest.mark.parametrize(
    ("blob", "said"),
    [
        (b"\1\0\0", "a table of 1 bytes in 3 bytes"),
        (struct.pack("<Q", 2**63) + b"{}", "a table of 9,223,372,036,854,775,808 bytes in 10 bytes"),
        (
            struct.pack("<Q", LARGEST_TABLE_BYTES + 1) + b" " * (LARGEST_TABLE_BYTES + 1),
            "a table of 1,048,577 bytes: at",
        ),
        (table({"a": entry(0, 4, [4])}, b"abc"), "3 bytes follow a table of 4"),
        (table({"a": entry(0, 4, [4])}, b"abcde"), "5 bytes follow a table of 4"),
        (table({"a": entry(0, 4, [4]), "b": entry(2, 6, [4])}, b"abcdef"), "'b' is said to lie at 2 to 6, but its"),
        (table({"a": entry(0, 2, [2]), "b": entry(4, 6, [2])}, b"abcdef"), "'b' is said to lie at 4 to 6, but its"),
        (table({"a": entry(0, 2, [2]), "b": entry(0, 2, [2])}, b"ab"), "'b' is said to lie at 0 to 2, but its"),
        (table({"a": entry(0, 4, [2])}, b"abcd"), "'a' is said to lie at 0 to 4, but its shape and dtype are 2 bytes"),
        (
            table({"a": entry(0, 4, [4], "F32")}, b"abcd"),
            "'a' is said to lie at 0 to 4, but its shape and dtype are 16",
        ),
        (table({"a": entry(4, 0, [4])}, b"abcd"), "'a' is said to lie at 4 to 0"),
        (table({"a": entry(0, 0, [2**40] * 8)}, b""), "'a' is said to lie at 0 to 0, but its shape and dtype are "),
        (table({"a": entry(0, 1, [1] * 9)}, b"a"), r".*'shape'.* is refused: List should have at most 8 items"),
        (table({"a": entry(0, 1, [-1])}, b"a"), r".*'shape'.* is refused: Input should be greater than or equal to 0"),
        (table({"a": entry(0, 1, [True])}, b"a"), r".*'shape'.* is refused: Input should be a valid integer"),
        (table({"a": entry(0, 1, [1.0])}, b"a"), r".*'shape'.* is refused: Input should be a valid integer"),
        (table({"a": entry(0, 1, [1], "F4")}, b"a"), r".*'dtype'.* is refused"),
        (table({"a": {**entry(0, 1, [1]), "more": 1}}, b"a"), r".*'more'.* is refused: Extra inputs"),
        (table({"__metadata__": {"a": "b"}}, b""), ".*__metadata__.* is refused"),
        (table({"": entry(0, 1, [1])}, b"a"), "the name '' is refused: printable, NFC, 1 to 200 long"),
        (table({"a\n": entry(0, 1, [1])}, b"a"), r"the name 'a\\n' is refused"),
        (table({"u\u0308": entry(0, 1, [1])}, b"a"), "the name .* is refused: printable, NFC"),
        (table({"a" * 201: entry(0, 1, [1])}, b"a"), "the name .* is refused"),
        (table({f"{i}": entry(0, 0, [0]) for i in range(10_001)}, b""), "10,001 of them: at most 10,000 are sent"),
        (
            table({"a": entry(0, 0, [0, 2**40, 2**40])}, b""),
            "'a' of shape .0, 1099511627776, 1099511627776. is never sent",
        ),
        (b"\2\0\0\0\0\0\0\0[]", ".* is refused: Input should be a valid dictionary"),
        (b"\x03\0\0\0\0\0\0\0NaN", "unreadable .NaN is no JSON number"),
        (struct.pack("<Q", 9) + b'{"a":0,"a":0}'[:9], "unreadable"),
        (struct.pack("<Q", 13) + b'{"a":0,"a":0}', "unreadable .a key stands twice in one object"),
    ],
)
def test_tables_that_do_not_describe_their_bytes_are_refused_by_name(blob, said):
    with pytest.raises(WireError, match=f"^tensors: {said}"):
        read_tensors(blob)


def test_the_tables_that_these_were_spoiled_from_are_read():
    whole = table({"a": entry(0, 2, [2]), "b": entry(2, 6, [1], "F32")}, b"abcdef")
    assert read_tensors(whole)["a"].tolist() == [97, 98]
    assert read_tensors(b"") == {}
    assert read_tensors(table({}, b"")) == {}


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"a\n": torch.ones(1)}, r"the name 'a\\n' is refused"),
        ({"a": torch.ones(1, dtype=torch.complex64)}, "a of torch.complex64 and 1 axes is never sent"),
        ({"a": torch.ones([1] * 9)}, "a of torch.float32 and 9 axes is never sent"),
        ({str(i): torch.ones(0) for i in range(10_001)}, "10,001 of them"),
    ],
)
def test_tensors_that_would_be_refused_are_not_sent(tensors, said):
    with pytest.raises(WireError, match=f"^tensors: {said}"):
        write_tensors(tensors)


def test_reading_what_nests_and_repeats_takes_memory_in_proportion():
    headers = [b"[" * LARGEST, b"{}," * (LARGEST // 3), b'{"kind":"hello","images":[' + b"0," * (LARGEST // 2)]
    tracemalloc.start()
    for header in headers:
        with pytest.raises(WireError):
            decode(joined(header[: LARGEST - 10], b""), from_="client", largest=LARGEST)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * LARGEST


def test_every_kind_is_spoiled():
    assert {frame.kind for frame in FRAMES.values()} == HEADERS.keys()
