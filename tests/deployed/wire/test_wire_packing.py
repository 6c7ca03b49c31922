"""What a defense or wire format packs is sent packed, arrives bit by bit as the simulation has it, and fits."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dtfl_private.deployed.wire.frames import WireError, decode, encode
from dtfl_private.deployed.wire.kinds import Smashed
from dtfl_private.deployed.wire.packing import as_sent, is_packed, unpacked
from dtfl_private.plugins.installed import installed
from dtfl_private.plugins.registry import create
from dtfl_private.protection import rounding, sparse
from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protection.wire_format import WireFormat
from dtfl_private.protocol.messages import SmashedBatch
from dtfl_private.protocol.packed import Quantized, Sparse
from tests.deployed.wire.frame_samples import LARGEST, same
from tests.hostile.spoiling import examples

AT = ClientRound(seed=0, client=0, round=1, tier=1, records=99, classes=10)
SPELLED = {"quantize": ["quantize", "quantize:4"], "top-k": ["top-k", "top-k:0.5", "top-k:0.001", "top-k:1"]}
# What each built-in way of packing is sent as; None: as it is.
WAYS = [
    *(
        (DefenseChain([create("defense", text)]), packed)
        for texts in SPELLED.values()
        for text in texts
        for packed in [True]
    ),
    *(
        (DefenseChain(wire=WireFormat(kind=kind)), kind in ("int8", "int4"))
        for kind in ("fp32", "bf16", "int8", "int4")
    ),
]


def message(smashed: torch.Tensor) -> SmashedBatch:
    labels = torch.zeros(len(smashed), dtype=torch.int64)
    return SmashedBatch(client=0, round=1, tier=1, batch=0, smashed=smashed, labels=labels)


def sent_and_read(said: SmashedBatch, largest: int = LARGEST) -> tuple[bytes, SmashedBatch]:
    data = encode(Smashed(session=1, message=said))
    return data, decode(data, from_="client", largest=largest).message


def test_every_built_in_defense_that_packs_is_tried_here():
    packing = {name for name in installed("defense") if create("defense", name).facts.packs}
    assert packing == SPELLED.keys()


@pytest.mark.parametrize(("chain", "packed"), WAYS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_what_is_packed_arrives_bit_by_bit_and_in_the_bytes_that_it_announces(chain, packed, dtype):
    # As behind a ReLU: many zeros; one constant record; a value far from the others.
    smashed = torch.randn(64, 16, 8, 8, generator=torch.Generator().manual_seed(0)).relu().to(dtype)
    smashed[0], smashed[1, 0, 0, 0] = 0.3, 1e6
    said = chain.protect_batch(message(smashed.to(memory_format=torch.channels_last)), AT)
    data, came = sent_and_read(said)
    assert same(came.smashed, said.smashed)
    assert (came.packed is not None) == packed
    assert came.packed_bytes == said.packed_bytes
    assert is_packed(said)
    payload = said.smashed_bytes + said.label_bytes
    assert payload <= len(data) <= payload + 800


@pytest.mark.parametrize("shape", [(3, 5), (1, 1), (2, 3, 3), (2, 4, 3, 3), (2, 3, 1, 7), (3, 2, 2, 2, 2)])
@pytest.mark.parametrize(("chain", "packed"), WAYS)
def test_every_shape_of_a_cut_can_be_sent_packed(chain, packed, shape):
    said = chain.protect_batch(message(torch.randn(shape)), AT)
    came = sent_and_read(said)[1]
    assert same(came.smashed, said.smashed)
    assert (came.packed is not None) == packed


@given(st.integers(0, 10_000), st.floats(1e-30, 1e30), st.floats(-1e30, 1e30), st.sampled_from(["int8", "int4"]))
@examples(60)
def test_values_of_any_size_arrive_bit_by_bit(seed, scale, shift, kind):
    smashed = torch.randn(3, 2, 3, 3, generator=torch.Generator().manual_seed(seed)) * scale + shift
    said = DefenseChain(wire=WireFormat(kind=kind)).protect_batch(message(smashed), AT)
    assert same(sent_and_read(said)[1].smashed, said.smashed)


@dataclass(frozen=True, kw_only=True)
class Announces(Defense):
    """A user's own, which only says that it packs."""

    facts: ClassVar[DefenseFacts] = DefenseFacts(protects="", acts_on=("smashed",), packs=True)

    def protect_batch(self, message: SmashedBatch, at: ClientRound) -> SmashedBatch:
        return replace(message, smashed=message.smashed.round(), packed_bytes=len(message.smashed))


def test_what_is_only_announced_is_sent_as_it_is_and_counted_as_it_came():
    said = Announces().protect_batch(message(torch.randn(4, 9)), AT)
    came = sent_and_read(said)[1]
    assert same(came.smashed, said.smashed)
    assert (said.smashed_bytes, came.smashed_bytes, came.packed) == (4, 4 * 9 * 4, None)
    assert not is_packed(said)


def test_what_was_changed_after_packing_is_sent_as_it_is():
    said = WireFormat(kind="int8").sent(message(torch.randn(4, 3, 3, 3)))
    changed = replace(said, smashed=said.smashed + torch.finfo(torch.float32).eps)
    assert (as_sent(said) is said.packed, as_sent(changed)) == (True, None)
    assert same(sent_and_read(changed)[1].smashed, changed.smashed)


def spoiled(**changes: torch.Tensor) -> tuple[Quantized, torch.Tensor]:
    smashed = torch.randn(4, 3, 3, 3)
    return replace(rounding.pack(smashed, 8), **changes), smashed


def test_codes_that_are_not_those_of_the_shape_are_refused():
    good, smashed = spoiled()
    assert unpacked(good, smashed.shape, smashed.dtype).shape == smashed.shape
    for name, wrong in (
        ("low", torch.zeros(3)),
        ("low", torch.zeros(2)),
        ("low", torch.zeros(0)),
        ("low", torch.tensor(0.0)),
        ("low", torch.zeros(4, 1)),
        ("low", torch.zeros(4).double()),
        ("step", torch.zeros(3)),
        ("step", torch.zeros(4).bfloat16()),
        ("codes", torch.zeros(4, 26).byte()),
        ("codes", torch.zeros(4, 28).byte()),
        ("codes", torch.zeros(4, 27).char()),
    ):
        with pytest.raises(WireError, match="packed activations: "):
            unpacked(replace(good, **{name: wrong}), smashed.shape, smashed.dtype)
    with pytest.raises(WireError, match="packed activations: codes are"):
        unpacked(replace(good, bits=4), smashed.shape, smashed.dtype)


def test_places_that_are_not_those_of_records_are_refused():
    smashed = torch.randn(2, 3, 3)
    good = sparse.pack(smashed, 3)
    assert unpacked(good, smashed.shape, smashed.dtype).shape == smashed.shape
    for wrong in ([0, 1, 9], [-1, 1, 2], [1, 1, 2], [2, 1, 3]):
        indices = torch.tensor([[0, 1, 2], wrong], dtype=torch.int16)
        with pytest.raises(WireError, match="packed activations: places within a record must ascend from 0 to 8"):
            unpacked(replace(good, indices=indices), smashed.shape, smashed.dtype)
    for changes in (
        {"indices": good.indices.int()},
        {"indices": good.indices[:, :2]},
        {"values": good.values.double()},
        {"values": good.values[:1]},
        {"values": good.values[0]},
        {"values": torch.zeros(2, 0)},
        {"values": torch.zeros(2, 10)},
    ):
        with pytest.raises(WireError, match="packed activations: "):
            unpacked(replace(good, **changes), smashed.shape, smashed.dtype)


def test_a_few_bytes_that_stand_for_many_are_refused_before_they_are_unpacked():
    packed = Sparse(values=torch.ones(4, 1), indices=torch.zeros(4, 1, dtype=torch.int32))
    said = replace(message(torch.zeros(4, 2**16)), packed=packed, packed_bytes=packed.size_bytes)
    said.smashed[:, 0] = 1
    data, came = sent_and_read(said, largest=2**20)
    assert len(data) < 1000 < came.smashed.nbytes == 2**20
    with pytest.raises(WireError, match=r"smashed: activations of F32 \[4, 65536\] have more than 1,048,575 bytes"):
        sent_and_read(said, largest=2**20 - 1)
