"""Frames of all kinds, drawn at random, and when two are the same."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from dtfl_private.deployed.wire import kinds
from dtfl_private.protocol.messages import (
    ChannelScale,
    ChannelSums,
    ClassCounts,
    ClassWeights,
    ModelDownload,
    SmashedBatch,
    WeightUpdate,
)

LARGEST = 2**24

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
ALL_DTYPES = (*FLOATS, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)


def tensor(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> Tensor:
    """Return any bits whatever, NaN and infinities among them."""
    chance = torch.Generator().manual_seed(seed)
    if dtype == torch.bool:
        return torch.randint(0, 2, shape, generator=chance).bool()
    whole = torch.randint(0, 256, (*shape, dtype.itemsize), dtype=torch.uint8, generator=chance)
    return whole.view(dtype).reshape(shape)


SHAPES = st.lists(st.integers(0, 4), max_size=4)


def tensors(dtypes=ALL_DTYPES, shapes=SHAPES):
    return st.builds(tensor, shapes.map(tuple), st.sampled_from(dtypes), st.integers(0, 99))


# What torch calls parameters and buffers, and what a user's own network may.
names = st.lists(
    st.sampled_from(["0", "conv1", "weight", "running_var", "num_batches_tracked", "größe", "層", "a/b", "head"]),
    min_size=1,
    max_size=4,
).map(".".join)
states = st.dictionaries(names, tensors(), max_size=5)
numbers = st.integers(0, 2**53)
positive = st.integers(1, 2**53)
seconds = st.floats(0, 1e9)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
# As `one_line` leaves them; how reasons are cut is tested by itself.
words = st.lists(st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), max_size=9), max_size=9)
reasons = words.map(lambda parts: " ".join(filter(None, parts)))
texts = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), max_size=300)


@st.composite
def smashed(draw: Any) -> SmashedBatch:
    batch, cut = draw(st.integers(1, 4)), draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    labelled = draw(st.booleans())
    labels = draw(tensors((torch.int64,), st.just((batch,)))) if labelled else torch.zeros(batch).long()
    return SmashedBatch(
        client=draw(numbers),
        round=draw(positive),
        tier=draw(positive),
        batch=draw(numbers),
        smashed=draw(tensors(FLOATS, st.just((batch, *cut)))),
        labels=labels,
        labelled=labelled,
    )


@st.composite
def sums(draw: Any) -> ChannelSums:
    channels = st.just((draw(st.integers(0, 4)),))
    whole = tensors((torch.int64, torch.int32), channels)
    return ChannelSums(client=draw(numbers), pixels=draw(positive), sums=draw(whole), squares=draw(whole))


downloads = st.builds(
    ModelDownload,
    client=numbers,
    round=positive,
    tier=positive,
    weights=states,
    head=states,
    wire=st.sampled_from([None, "fp32", "bf16", "int8", "int4"]),
)
updates = st.builds(
    WeightUpdate, client=numbers, round=positive, tier=positive, examples=positive, weights=states, head=states
)
counts = st.builds(ClassCounts, client=numbers, counts=tensors((torch.int64,), st.just((3,))))
scales = st.builds(ChannelScale, client=numbers, mean=tensors(FLOATS), deviation=tensors(FLOATS))
class_weights = st.builds(ClassWeights, client=numbers, weights=tensors(FLOATS))
classes = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=20)
rates = st.floats(0, 1e9, exclude_min=True)

FRAMES = {
    "hello": st.builds(
        kinds.Hello,
        session=numbers,
        version=texts,
        config_sha256=st.one_of(st.just(""), digests),
        last_run=texts,
    ),
    "register": st.builds(kinds.Register, session=numbers, images=positive),
    "channel-sums": st.builds(kinds.Sums, session=numbers, message=sums()),
    "class-counts": st.builds(kinds.Counts, session=numbers, message=counts),
    "probed": st.builds(kinds.Probed, session=numbers, batch_s=seconds, images=positive),
    "smashed": st.builds(kinds.Smashed, session=numbers, message=smashed()),
    "update": st.builds(kinds.Update, session=numbers, message=updates, compute_s=seconds, images=numbers),
    "withdrawn": st.builds(kinds.Withdrawn, session=numbers, round=positive, reason=reasons),
    "echo": st.builds(kinds.Echo, session=numbers, number=numbers, payload=st.binary(max_size=99)),
    "welcome": st.builds(
        kinds.Welcome,
        session=numbers,
        run=texts,
        client=numbers,
        config=st.text(),
        config_sha256=digests,
        largest=positive,
        classes=st.lists(classes, min_size=1, max_size=5).map(tuple),
        input_shape=st.lists(positive, min_size=1, max_size=3).map(tuple),
    ),
    "refused": st.builds(kinds.Refused, session=numbers, reason=reasons),
    "scale": st.builds(kinds.Scale, session=numbers, message=scales),
    "class-weights": st.builds(kinds.ClassScale, session=numbers, message=class_weights),
    "probe": st.builds(kinds.Probe, session=numbers, message=downloads, lr=rates),
    "open-round": st.builds(
        kinds.OpenRound,
        session=numbers,
        message=downloads,
        lr=rates,
        batches=positive,
        profile=texts,
        deadline_s=seconds,
    ),
    "finish": st.builds(kinds.Finish, session=numbers, round=positive),
    "closed": st.builds(kinds.Closed, session=numbers, round=positive, accepted=st.booleans(), reason=reasons),
    "measure": st.builds(
        kinds.Measure, session=numbers, number=numbers, payload=st.binary(max_size=99), reply_bytes=numbers
    ),
    "goodbye": st.builds(kinds.Goodbye, session=numbers, reason=reasons),
}


def same(one: Any, other: Any) -> bool:
    """Whether two things are equal; tensors in type, shape and every bit."""
    if isinstance(one, Tensor):
        alike = one.dtype == other.dtype and one.shape == other.shape
        return alike and bits(one) == bits(other)
    if is_dataclass(one):
        return type(one) is type(other) and all(
            same(getattr(one, field.name), getattr(other, field.name)) for field in fields(one)
        )
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    return type(one) is type(other) and one == other


def bits(tensor: Tensor) -> bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
