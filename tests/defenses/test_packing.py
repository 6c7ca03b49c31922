"""Quantised and sparse activations: what is packed, what arrives, and how many bytes that is."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dtfl_private.defenses import top_k
from dtfl_private.defenses.gaussian_noise import GaussianNoise
from dtfl_private.defenses.patch_shuffle import PatchShuffle
from dtfl_private.defenses.quantize import Quantize
from dtfl_private.defenses.top_k import TopK
from dtfl_private.errors import InputError
from dtfl_private.plugins.registry import create
from dtfl_private.privacy.compatibility import check_defenses
from dtfl_private.protection import rounding
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.cost import Cut
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.messages import SmashedBatch

AT = ClientRound(seed=0, client=0, round=1, tier=1, records=9, classes=2)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def message(smashed: Tensor) -> SmashedBatch:
    labels = torch.zeros(len(smashed)).long()
    return SmashedBatch(client=0, round=1, tier=1, batch=0, smashed=smashed, labels=labels)


def cut_of(smashed: Tensor) -> Cut:
    shape = tuple(smashed.shape[1:])
    size = smashed[0].numel() * smashed.element_size()
    return Cut(tier=1, input_shape=(1, 8, 8), cut_shape=shape, smashed_bytes=size, forward_macs=1, batch_size=4)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("shape", [(5, 3, 4, 4), (5, 3, 3, 3), (5, 7, 6), (1, 1)])
def test_quantised_values_are_off_by_half_a_step_at_most(bits, shape):
    smashed = normal(*shape)
    packed = rounding.pack(smashed, bits)
    rows, back = smashed.flatten(1), rounding.unpack(packed, smashed).flatten(1)
    half_steps = (rows.amax(1) - rows.amin(1)) / (2**bits - 1) / 2
    assert ((rows - back).abs() <= half_steps[:, None] * (1 + 1e-4) + 1e-6).all()


@pytest.mark.parametrize("bits", [8, 4])
def test_codes_are_whole_bytes_and_all_that_is_needed_to_read_them(bits):
    smashed = normal(5, 3, 3, 3)  # 27 values: an odd number of half bytes
    packed = rounding.pack(smashed, bits)
    assert packed.codes.dtype == torch.uint8
    assert packed.codes.shape == (5, 27 if bits == 8 else 14)
    assert packed.size_bytes == 5 * (packed.codes.shape[1] + 8) == 5 * rounding.record_bytes(27, bits)
    # Every level is used that the values span, in the order of the values.
    levels = rounding.unpack(packed, smashed).flatten(1)
    assert (levels.gather(1, smashed.flatten(1).argsort(dim=1)).diff(dim=1) >= 0).all()


@pytest.mark.parametrize("bits", [8, 4])
def test_equal_and_extreme_values_are_kept(bits):
    smashed = torch.stack([torch.full((6,), 0.3), torch.tensor([-2.0, -2, 5, 5, -2, 5]), torch.zeros(6)])
    assert torch.allclose(rounding.unpack(rounding.pack(smashed, bits), smashed), smashed, atol=1e-6)


@given(st.integers(0, 10_000), st.sampled_from([8, 4]))
def test_quantising_twice_changes_nothing_more(seed, bits):
    once = Quantize(bits=bits).protect_batch(message(normal(2, 9, seed=seed)), AT).smashed
    twice = Quantize(bits=bits).protect_batch(message(once), AT).smashed
    assert torch.allclose(once, twice, atol=1e-5)


@pytest.mark.parametrize("defense", [Quantize(bits=8), Quantize(bits=4), TopK(share=0.3)])
def test_a_record_is_packed_by_itself(defense):
    smashed = normal(4, 3, 4, 4)
    others = smashed.clone()
    others[1:] *= 100
    ours, theirs = (defense.protect_batch(message(values), AT).smashed for values in (smashed, others))
    assert torch.equal(ours[0], theirs[0])


@pytest.mark.parametrize("shape", [(5, 3, 4, 4), (5, 7, 6)])
@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 1.0])
def test_the_greatest_magnitudes_arrive_and_nothing_else(shape, share):
    smashed = normal(*shape)
    sent = TopK(share=share).protect_batch(message(smashed), AT).smashed
    count = max(1, round(share * smashed[0].numel()))
    for before, after in zip(smashed.flatten(1), sent.flatten(1), strict=True):
        threshold = before.abs().sort(descending=True).values[count - 1]
        assert torch.equal(after, torch.where(before.abs() >= threshold, before, 0))


@pytest.mark.parametrize(("values", "index_bytes"), [(2**15, 2), (2**15 + 1, 4)])
def test_places_take_as_few_bytes_as_will_do(values, index_bytes):
    smashed = normal(1, values).bfloat16()
    packed = top_k.pack(smashed, 10)
    assert packed.size_bytes == 10 * (2 + index_bytes)
    assert packed.indices.min() >= 0
    back = top_k.unpack(packed, smashed.shape)
    assert int((back != 0).sum()) == 10
    assert torch.equal(back[back != 0], smashed[back != 0])


@pytest.mark.parametrize("defense", [Quantize(bits=8), Quantize(bits=4), TopK(share=0.1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_chain_that_packs_announces_what_it_sends(defense, dtype):
    smashed = normal(4, 8, 4, 4).to(dtype)
    chain = DefenseChain([PatchShuffle(patch=2), GaussianNoise(sd=0.1), defense])
    check_defenses(chain, "batch", "fp32", 1)
    sent = chain.protect_batch(message(smashed), AT)
    assert sent.smashed_bytes == 4 * chain.wire_bytes(cut_of(smashed)) < smashed.numel() * smashed.element_size()


def test_eight_and_four_bits_are_a_quarter_and_an_eighth_of_float32():
    smashed = normal(1, 16, 32, 32)
    sizes = [Quantize(bits=bits).wire_bytes(cut_of(smashed)) for bits in (8, 4)]
    assert sizes == [65_536 // 4 + 8, 65_536 // 8 + 8]


@pytest.mark.parametrize("packing", ["quantize", "top-k"])
@pytest.mark.parametrize("later", ["gaussian-noise", "patch-shuffle", "quantize", "top-k"])
def test_nothing_may_change_what_was_packed(packing, later):
    chain = DefenseChain([create("defense", packing), create("defense", later)])
    with pytest.raises(InputError, match=f"{packing} packs the smashed data, which {later} would change again: give"):
        check_defenses(chain, None, "fp32", 1)


def test_two_and_a_half_bits_are_refused():
    with pytest.raises(InputError, match="bits=5 is refused: use 8 or 4"):
        create("defense", "quantize:bits=5")
    assert create("defense", "quantize:4") == replace(Quantize(), bits=4)
