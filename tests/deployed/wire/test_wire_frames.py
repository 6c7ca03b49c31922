"""Every kind of frame comes back as it went, costs little beside what it holds, and if spoiled is refused by name."""

import json
import struct

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from dtfl_private.deployed.wire import tensors
from dtfl_private.deployed.wire.frames import SCHEMA, WireError, decode, encode
from dtfl_private.deployed.wire.headers import HEADERS
from dtfl_private.deployed.wire.kinds import KINDS, Goodbye, Hello, Refused, Register, Smashed, Update, Withdrawn
from dtfl_private.protocol.messages import SmashedBatch, WeightUpdate
from tests.deployed.wire.frame_samples import FRAMES, LARGEST, same
from tests.hostile.spoiling import examples


def batch(smashed: torch.Tensor, **changes: object) -> SmashedBatch:
    labels = torch.arange(len(smashed)) % 10
    return SmashedBatch(
        **{"client": 1, "round": 2, "tier": 3, "batch": 4, "smashed": smashed, "labels": labels, **changes}
    )


def read(data: bytes, from_: str = "client"):
    return decode(data, from_=from_, largest=LARGEST)


def test_each_kind_has_a_schema_and_a_sample():
    assert KINDS.keys() == HEADERS.keys() == FRAMES.keys()
    assert all(HEADERS[kind].of_kind is KINDS[kind] for kind in KINDS)


@pytest.mark.parametrize("kind", FRAMES)
def test_every_kind_comes_back_as_it_went(kind):
    @examples(25)
    @given(FRAMES[kind])
    def round_trip(frame):
        data = encode(frame)
        assert same(decode(data, from_=frame.by, largest=LARGEST), frame)
        assert encode(decode(data, from_=frame.by, largest=LARGEST)) == data

    round_trip()


@pytest.mark.parametrize("kind", FRAMES)
def test_no_side_is_believed_what_the_other_says(kind):
    other = {"client": "server", "server": "client"}[KINDS[kind].by]
    header = json.dumps({"kind": kind}).encode()
    data = struct.pack("<4sHI", b"DTFL", SCHEMA, len(header)) + header
    with pytest.raises(WireError, match=f"kind '{kind}': a {other} never sends it"):
        read(data, other)


WHOLE = torch.randn(4, 3, 5, 6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize(
    "smashed",
    [
        WHOLE,
        WHOLE.to(memory_format=torch.channels_last),
        WHOLE[:, :1].clone(memory_format=torch.channels_last),
        WHOLE[:1, :1].clone(memory_format=torch.channels_last),
        WHOLE[:, :1].clone(),
        WHOLE[:, :, :1, :1].clone(),
        WHOLE[:, :, :1, :1].clone(memory_format=torch.channels_last),
        WHOLE.flatten(2).transpose(1, 2),  # of tokens that were pixels
        WHOLE.permute(0, 3, 1, 2),
    ],
)
def test_activations_come_back_in_the_order_in_which_they_lay_in_memory(dtype, smashed):
    smashed = smashed.to(dtype)
    came = read(encode(Smashed(session=1, message=batch(smashed)))).message.smashed
    assert came.dtype == dtype
    assert torch.equal(came, smashed)
    assert came.stride() == smashed.stride()


@pytest.mark.parametrize("smashed", [WHOLE[:, ::2], WHOLE[:, :1].expand(4, 3, 5, 6), WHOLE[1:, 1:]])
def test_parts_of_other_tensors_come_back_contiguous(smashed):
    came = read(encode(Smashed(session=1, message=batch(smashed)))).message.smashed
    assert torch.equal(came, smashed)
    assert came.is_contiguous()


@pytest.mark.parametrize("order", [[], [0, 1, 2], [0, 1, 2, 2], [0, 1, 2, 4], [0, 1, 2, 3, 4]])
def test_what_is_no_order_of_the_axes_is_refused(order):
    whole = encode(Smashed(session=1, message=batch(WHOLE)))
    end = 10 + int.from_bytes(whole[6:10], "little")
    header = {**json.loads(whole[10:end]), "order": order}
    with pytest.raises(WireError, match=r"smashed: activations: .* is no order of 4 axes"):
        read(framed(header, whole[end:]))


def test_weights_that_share_memory_come_back_as_two():
    weight = torch.randn(4, 4)
    whole = torch.randn(8)
    weights = {"a": weight, "b": weight, "c": weight.t(), "d": whole[:4], "e": whole[4:], "f": nn.Parameter(whole)}
    update = WeightUpdate(client=0, round=1, tier=1, examples=1, weights=weights, head={})
    came = read(encode(Update(session=1, message=update, compute_s=1, images=1))).message
    assert came.head == {}
    assert same(came.weights, {name: tensor.detach() for name, tensor in weights.items()})
    came.weights["a"].zero_()
    assert torch.equal(came.weights["b"], weight)


def test_what_came_has_memory_of_its_own_and_can_be_written():
    smashed = torch.randn(4, 8)
    data = encode(Smashed(session=1, message=batch(smashed)))
    read(data).message.smashed.zero_()
    assert torch.equal(read(data).message.smashed, smashed)


@pytest.mark.parametrize(("dtype", "records"), [(torch.float32, 64), (torch.bfloat16, 128)])
def test_a_batch_of_a_megabyte_costs_a_thousandth_more_than_its_payload(dtype, records):
    message = batch(torch.randn(records, 16, 16, 16).to(dtype))
    payload = message.smashed_bytes + message.label_bytes
    assert payload >= 10**6
    assert payload < len(encode(Smashed(session=2**53, message=message))) <= 1.001 * payload


def test_an_update_of_a_network_costs_a_fiftieth_more_than_its_weights():
    modules = nn.Sequential(*(nn.Sequential(nn.Conv2d(32, 32, 3), nn.BatchNorm2d(32)) for _ in range(20)))
    update = WeightUpdate(client=0, round=1, tier=1, examples=1, weights=modules.state_dict(), head={})
    assert len(encode(Update(session=1, message=update, compute_s=1, images=1))) <= 1.02 * update.weight_bytes


def test_frames_of_another_version_say_so():
    data = bytearray(encode(Hello(version="1")))
    data[4:6] = (2).to_bytes(2, "little")
    with pytest.raises(
        WireError, match=r"^schema version 2, this side speaks 1: install the same version on both sides$"
    ):
        read(bytes(data))


def test_reasons_are_one_line_that_may_be_shown():
    frame = Withdrawn(session=1, round=1, reason="\x1b[2J" + "no\n" * 5000)
    reason = read(encode(frame)).reason
    assert reason.isprintable()
    assert reason.startswith("\\x1b[2J")
    assert len(reason) <= 2000
    assert read(encode(Goodbye(session=1, reason="")), "server") == Goodbye(session=1, reason="")


def framed(header: object, blob: bytes = b"", *, magic: bytes = b"DTFL", schema: int = SCHEMA) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    return struct.pack("<4sHI", magic, schema, len(text)) + text + blob


REFUSED = {"kind": "refused", "reason": "", "session": 0}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "frame: 0 bytes, of which the first 10 say what it is"),
        (b"DTFL\1\0\0\0\0", "frame: 9 bytes"),
        (framed(REFUSED, magic=b"HTTP"), r"magic b'HTTP': not a frame of dtfl-private, which begins with b'DTFL'"),
        (framed(REFUSED)[:-1], "header: 42 bytes are announced: at most 65,536 are read, and 41 follow"),
        (struct.pack("<4sHI", b"DTFL", 1, 2**32 - 1), "header: 4,294,967,295 bytes are announced"),
        (framed(b""), "header: Expecting value"),
        (framed(b"\xff"), "header: not UTF-8 text"),
        (framed(b"[" * 5000), "header: nested more than 64 levels deep"),
        (framed(b'{"a":' * 200 + b"1" + b"}" * 200), "header: nested more than 64 levels deep"),
        (framed(b'{"kind":"refused","reason":"","session":NaN}'), "header: NaN is no JSON number"),
        (framed(b'{"kind":"refused","reason":"","session":-Infinity}'), "header: -Infinity is no JSON number"),
        (
            framed(b'{"kind":"refused","reason":"","session":' + b"9" * 5000 + b"}"),
            "header: an integer of 5,000 digits",
        ),
        (framed(b'{"kind":"refused","reason":"","session":' + b"9" * 99 + b"}"), "refused: 'session'=9.* is refused"),
        (framed(b'{"kind":"refused","kind":"refused","reason":"","session":0}'), "header: a key stands twice"),
        (framed(b'{"kind": "refused","reason":"","session":0}'), "refused: the header is not canonical JSON"),
        (framed(b'{"reason":"","kind":"refused","session":0}'), "refused: the header is not canonical JSON"),
        (
            framed(b'\xef\xbb\xbf{"kind":"refused","reason":"","session":0}'),
            "refused: the header is not canonical JSON",
        ),
        (framed(b'{"kind":"refused","reason":"\\u0041","session":0}'), "refused: the header is not canonical JSON"),
        (framed({**REFUSED, "session": -1}), "refused: 'session'=-1 is refused: Input should be greater than or equal"),
        (framed({**REFUSED, "session": 1.0}), "refused: 'session'=1.0 is refused"),
        (framed({**REFUSED, "session": True}), "refused: 'session'=True is refused"),
        (framed({**REFUSED, "session": "1"}), "refused: 'session'='1' is refused"),
        (framed({**REFUSED, "more": 1}), "refused: 'more'=1 is refused: Extra inputs are not permitted"),
        (framed({"kind": "refused", "reason": ""}), "refused: 'session'=.* is refused: Field required"),
        (
            framed({**REFUSED, "reason": "x" * 2001}),
            "refused: 'reason'='x.* is refused: String should have at most 2000",
        ),
        (
            framed({**REFUSED, "reason": "\x1b[2J"}),
            "refused: 'reason'=.* is refused: Value error, it cannot be shown as it is",
        ),
        (framed({**REFUSED, "kind": "pickle"}), "kind 'pickle': unknown; known are hello, register"),
        (framed({**REFUSED, "kind": ["refused"]}), "kind .*: unknown; known are hello"),
        (framed([REFUSED]), "kind None: unknown"),
        (framed(REFUSED, b"\0" * 9), "refused: tensors: unreadable"),
        (
            framed(REFUSED, tensors.write_tensors({"a": torch.ones(1)})),
            r"refused: tensors: \['a'\] came, expected none",
        ),
        (b"DTFL" + bytes(LARGEST), "frame: 16,777,220 bytes: at most 16,777,216 are read"),
    ],
)
def test_what_is_no_frame_is_refused_by_name(data, said):
    with pytest.raises(WireError, match=f"^{said}") as refused:
        read(data, "server")
    assert str(refused.value).isprintable()


def test_the_frame_that_these_were_spoiled_from_is_read():
    assert read(framed(REFUSED), "server") == Refused(reason="")


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (Register(session=1, images=0), "register: 'images'=0 is refused"),
        (Hello(version="x" * 301), "hello: 'version'='x.* is refused"),
        (Hello(version="1\n"), "hello: 'version'='1.*' is refused: Value error, it cannot be shown as it is"),
        (Hello(version="1", config_sha256="0" * 63), "hello: 'config_sha256'=.* is refused"),
        (Smashed(session=1, message=batch(torch.ones(2, 3).long())), "smashed: 'dtype'='I64' is refused"),
        (Smashed(session=1, message=batch(torch.ones(2))), "smashed: 'shape'=.* is refused"),
    ],
)
def test_nothing_is_sent_that_would_be_refused(frame, said):
    with pytest.raises(WireError, match=f"^{said}"):
        encode(frame)


@given(st.floats(allow_nan=True, allow_infinity=True))
@examples(30)
def test_numbers_that_json_has_not_are_not_sent(seconds):
    update = WeightUpdate(client=0, round=1, tier=1, examples=1, weights={}, head={})
    frame = Update(session=1, message=update, compute_s=seconds, images=1)
    if 0 <= seconds <= 1e9:
        assert read(encode(frame)) == frame
    else:
        with pytest.raises(WireError, match=r"^update: 'compute_s'"):
            encode(frame)
