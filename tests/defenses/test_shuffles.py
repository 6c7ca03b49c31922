"""Patch, channel and batch shuffling, against plain loops."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dtfl_private.defenses.batch_patch_shuffle import BatchPatchShuffle, exchange_patches, random_sources
from dtfl_private.defenses.channel_shuffle import ChannelShuffle, shuffle_channels
from dtfl_private.defenses.patch_shuffle import PatchShuffle, shuffle_patches
from dtfl_private.defenses.shared.pieces import count_pieces, cut_pieces, join_pieces, piece_side, random_orders
from dtfl_private.defenses.token_shuffle import LAST, TokenShuffle, orders_of_real
from dtfl_private.errors import InputError
from dtfl_private.models.build import build_model
from dtfl_private.models.cutting.staged import split
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.cost import Cut
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.messages import SmashedBatch


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def at(client: int = 4, number: int = 9) -> ClientRound:
    return ClientRound(seed=3, client=client, round=number, tier=2, records=80, classes=5)


def a_batch(*shape: int) -> SmashedBatch:
    """Return a batch whose values are all different, so that each can be followed."""
    values = torch.arange(math.prod(shape), dtype=torch.float32).reshape(shape)
    return SmashedBatch(client=4, round=9, tier=2, batch=0, smashed=values, labels=torch.zeros(shape[0]).long())


def cut_of(*shape: int) -> Cut:
    size = math.prod(shape)
    return Cut(tier=2, input_shape=(3, 8, 8), cut_shape=shape, smashed_bytes=4 * size, forward_macs=1, batch_size=5)


def blocks_by_hand(record: Tensor, patch: int) -> list[Tensor]:
    """Return the pieces of one record, row by row."""
    if record.ndim == 2:
        return list(record.split(patch))
    rows, columns = record.shape[1] // patch, record.shape[2] // patch
    return [
        record[:, r * patch : (r + 1) * patch, c * patch : (c + 1) * patch] for r in range(rows) for c in range(columns)
    ]


SHAPES = [((3, 8, 4), 2), ((3, 8, 4), 1), ((2, 6, 9), 3), ((8, 5), 2), ((9, 2), 1)]


@pytest.mark.parametrize(("shape", "patch"), SHAPES)
def test_every_piece_is_where_its_order_says(shape, patch):
    smashed = a_batch(5, *shape).smashed
    count = count_pieces(shape, patch)
    orders = random_orders(5, count, chance())
    moved = shuffle_patches(smashed, orders, patch)
    for record in range(5):
        before, after = blocks_by_hand(smashed[record], patch), blocks_by_hand(moved[record], patch)
        assert len(before) == count
        assert all(torch.equal(after[place], before[orders[record, place]]) for place in range(count))


@pytest.mark.parametrize(("shape", "patch"), SHAPES)
def test_pieces_join_to_what_they_were_cut_from_and_orders_can_be_undone(shape, patch):
    smashed = a_batch(5, *shape).smashed
    assert torch.equal(join_pieces(cut_pieces(smashed, patch), patch, smashed.shape), smashed)
    orders = random_orders(5, count_pieces(shape, patch), chance())
    assert torch.equal(shuffle_patches(shuffle_patches(smashed, orders, patch), orders.argsort(dim=1), patch), smashed)


@given(st.integers(1, 4), st.integers(1, 40), st.integers(0, 2**40))
def test_orders_are_permutations(records, length, seed):
    orders = random_orders(records, length, chance(seed))
    assert torch.equal(orders.sort(dim=1).values, torch.arange(length).expand(records, length))


@pytest.mark.parametrize("shape", [(6, 4, 4), (3, 6), (6,)])
def test_every_channel_is_where_its_order_says(shape):
    smashed = a_batch(5, *shape).smashed
    orders = random_orders(5, 6, chance())
    moved = shuffle_channels(smashed, orders)
    for record in range(5):
        for place in range(6):
            ours, theirs = (
                (moved[record][:, place], smashed[record][:, orders[record, place]])
                if len(shape) == 2
                else (moved[record][place], smashed[record][orders[record, place]])
            )
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize("make", [PatchShuffle, ChannelShuffle])
def test_a_fresh_order_differs_by_record_release_and_round(make):
    batch, now = a_batch(2, 16, 16, 16), at()
    # Equal records, so that equal orders would show as equal results.
    batch = SmashedBatch(**{**vars(batch), "smashed": batch.smashed[:1].expand(2, -1, -1, -1).contiguous()})
    first, second = (make().protect_batch(batch, now).smashed for _ in range(2))
    later = make().protect_batch(batch, at(number=10)).smashed
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, second)
    assert not torch.equal(first, later)


@pytest.mark.parametrize("make", [PatchShuffle, ChannelShuffle])
def test_a_clients_order_is_the_same_for_all_its_records_and_rounds_and_no_other_clients(make):
    batch, defense = a_batch(2, 16, 16, 16), make(key="client")
    batch = SmashedBatch(**{**vars(batch), "smashed": batch.smashed[:1].expand(2, -1, -1, -1).contiguous()})
    now = at()
    first, second, later = (defense.protect_batch(batch, when).smashed for when in (now, now, at(number=10)))
    assert torch.equal(first[0], first[1])
    assert torch.equal(first, second)
    assert torch.equal(first, later)
    assert not torch.equal(first, batch.smashed)
    assert not torch.equal(first, defense.protect_batch(batch, at(client=5)).smashed)


def test_pieces_that_are_exchanged_keep_their_places():
    smashed = a_batch(5, 3, 8, 4).smashed
    sources = random_sources(5, 8, 4, chance())
    moved = exchange_patches(smashed, sources, 2)
    for record in range(5):
        for place, piece in enumerate(blocks_by_hand(moved[record], 2)):
            assert torch.equal(piece, blocks_by_hand(smashed[sources[record, place]], 2)[place])


@given(st.integers(1, 6), st.integers(2, 20), st.data())
def test_each_place_has_one_piece_of_every_record_and_the_other_places_their_own(records, pieces, data):
    exchanged = data.draw(st.integers(1, pieces))
    sources = random_sources(records, pieces, exchanged, chance(data.draw(st.integers(0, 1000))))
    assert torch.equal(sources.sort(dim=0).values, torch.arange(records).unsqueeze(1).expand(records, pieces))
    moved = (sources != torch.arange(records).unsqueeze(1)).any(dim=0)
    assert moved.sum() <= exchanged


def test_a_batch_of_one_has_nothing_to_exchange():
    batch = a_batch(1, 3, 8, 8)
    assert torch.equal(BatchPatchShuffle().protect_batch(batch, at()).smashed, batch.smashed)


@pytest.mark.parametrize("defense", [PatchShuffle(patch=3), BatchPatchShuffle(patch=3)])
def test_a_patch_that_does_not_divide_is_refused_with_those_that_do(defense):
    with pytest.raises(InputError, match=r"patch=3 does not cut 8x16 positions .*: use patch=1 or 2 or 4 or 8$"):
        defense.check(cut_of(2, 8, 16))
    with pytest.raises(InputError, match=r"patch=3 does not cut 65 tokens .*: use patch=1 or 5 or 13$"):
        defense.check(cut_of(65, 8))
    defense.check(cut_of(2, 6, 6))


@pytest.mark.parametrize(
    ("shape", "patch", "side"),
    [((8, 8, 8), 4, 4), ((8, 4, 4), 4, 2), ((8, 2, 2), 4, 1), ((8, 4, 8), 4, 4), ((8, 3, 3), 4, 1), ((6, 9), 8, 3)],
)
def test_a_map_as_small_as_the_patch_is_cut_into_smaller_blocks(shape, patch, side):
    assert piece_side(shape, patch, "patch-shuffle") == side
    assert count_pieces(shape, side) >= 2
    batch = a_batch(3, *shape)
    moved = PatchShuffle(patch=patch).protect_batch(batch, at()).smashed
    assert not torch.equal(moved, batch.smashed)
    assert torch.equal(moved.flatten(1).sort(dim=1).values, batch.smashed.flatten(1))


@pytest.mark.parametrize("shape", [(8, 1, 1), (1, 8), (32,)])
def test_what_has_no_pieces_is_refused(shape):
    with pytest.raises(InputError, match="cannot cut activations of shape"):
        PatchShuffle(patch=1).check(cut_of(*shape))


def test_one_channel_is_no_shuffle():
    with pytest.raises(InputError, match=r"the activations \(1, 8, 8\) of tier 2 have one channel"):
        ChannelShuffle().check(cut_of(1, 8, 8))


@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=4), st.integers(0, 1000))
def test_real_tokens_are_ordered_by_their_keys_and_padding_stays(rows, seed):
    real = torch.tensor(rows)
    keys = torch.randint(LAST, real.shape, generator=chance(seed))
    for row, orders in zip(range(len(rows)), orders_of_real(real, keys), strict=True):
        places = [place for place in range(6) if rows[row][place]]
        by_key = sorted(places, key=lambda place: int(keys[row, place]))
        expected = dict(zip(places, by_key, strict=True))
        assert orders.tolist() == [expected.get(place, place) for place in range(6)]


def a_text_batch(lengths: tuple[int, ...]) -> SmashedBatch:
    """Return equal texts of 12 tokens, cut off at these lengths: equal orders would show as equal results."""
    batch = a_batch(len(lengths), 12, 4)
    for row, length in enumerate(lengths):
        batch.smashed[row] = 1 + torch.arange(48).reshape(12, 4)
        batch.smashed[row, length:] = 0
    return batch


def test_a_text_keeps_its_tokens_and_its_padding():
    lengths = (12, 5, 1, 0)
    batch = a_text_batch(lengths)
    real = torch.arange(12) < torch.tensor(lengths)[:, None]
    sent = TokenShuffle().protect_batch(batch, replace(at(), real=real)).smashed
    for ours, theirs, length in zip(sent, batch.smashed, lengths, strict=True):
        assert sorted(ours[:length].tolist()) == sorted(theirs[:length].tolist())
        assert not ours[length:].any()
    assert not torch.equal(sent[0], batch.smashed[0])


def test_a_server_whose_weights_make_tokens_zero_does_not_tell_their_places_from_padding():
    tokens = torch.tensor([[5, 6, 7, 8, 9, 5, 6, 7, 8, 9, 0, 0]])
    batch = a_text_batch((10,))
    batch.smashed[:, 3] = 0
    chain = DefenseChain([TokenShuffle()]).padded_by(0)
    sent = torch.cat(
        [chain.protect_batch(batch, at(number=number).during(torch.relu, tokens)).smashed for number in range(8)]
    )
    places = (sent[:, :10] == 0).all(dim=2).nonzero()[:, 1]
    assert len(places) == 8
    assert len(set(places.tolist())) > 1
    assert not sent[:, 10:].any()


def test_a_fresh_order_of_tokens_differs_by_record_and_release_and_a_clients_does_not():
    batch, now = a_text_batch((12, 12)), at()
    first, second = (TokenShuffle().protect_batch(batch, now).smashed for _ in range(2))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, second)
    kept, again = (TokenShuffle(key="client").protect_batch(batch, when).smashed for when in (now, at(number=10)))
    assert torch.equal(kept[0], kept[1])
    assert torch.equal(kept, again)
    assert not torch.equal(kept, batch.smashed)
    assert not torch.equal(kept, TokenShuffle(key="client").protect_batch(batch, at(client=5)).smashed)


@torch.no_grad()
def test_a_transformers_server_half_computes_the_same_of_shuffled_tokens():
    model = build_model("transformer:depth=2", input_shape=(12,), classes=3, norm="group", seed=0).eval()
    client, server = split(model, 1)
    smashed = client(torch.randint(256, (4, 12), generator=chance()))
    sent = TokenShuffle().protect_batch(SmashedBatch(**{**vars(a_batch(4, 12, 48)), "smashed": smashed}), at()).smashed
    assert (sent != smashed).any()
    assert torch.allclose(server(sent), server(smashed), atol=1e-5)


def test_positions_of_maps_are_shuffled_as_pieces_of_one():
    batch = a_batch(2, 3, 4, 4)
    sent = TokenShuffle().protect_batch(batch, at()).smashed
    assert not torch.equal(sent, batch.smashed)
    for ours, theirs in zip(sent, batch.smashed, strict=True):
        assert sorted(ours.flatten(1).T.tolist()) == sorted(theirs.flatten(1).T.tolist())


@pytest.mark.parametrize("shape", [(12,), (1, 8), (8, 1, 1)])
def test_what_has_one_position_is_not_shuffled_by_token(shape):
    with pytest.raises(InputError, match="token-shuffle cannot cut activations of shape"):
        TokenShuffle().check(cut_of(*shape))
