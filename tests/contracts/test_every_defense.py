"""What every registered defense must do with every message that leaves a client."""

import copy

import pytest
import torch

from dtfl_private.contracts import DefenseChain
from dtfl_private.messages import SmashedBatch, WeightUpdate
from dtfl_private.plugins import create, installed

pytestmark = pytest.mark.parametrize("name", sorted(installed("defense")))


def a_batch(size: int = 6, dtype: torch.dtype = torch.float32) -> SmashedBatch:
    generator = torch.Generator().manual_seed(0)
    return SmashedBatch(
        client=4,
        round=9,
        tier=2,
        batch=1,
        smashed=torch.randn(size, 8, 4, 4, generator=generator).to(dtype),
        labels=torch.randint(10, (size,), generator=generator),
    )


def an_update() -> WeightUpdate:
    generator = torch.Generator().manual_seed(0)
    weights = {"conv.weight": torch.randn(8, 1, 3, 3, generator=generator), "norm.num_batches_tracked": torch.tensor(7)}
    head = {"fc.weight": torch.randn(10, 8, generator=generator), "fc.bias": torch.zeros(10)}
    return WeightUpdate(client=4, round=9, tier=2, examples=120, weights=weights, head=head)


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize("size", [1, 6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_batch_stays_a_batch_of_its_length_and_of_its_client(name, size, dtype):
    before = a_batch(size, dtype)
    after = create("defense", name).protect_batch(before, rng())
    assert isinstance(after, SmashedBatch)
    assert (after.client, after.round, after.tier, after.batch) == (4, 9, 2, 1)
    assert len(after.smashed) == len(after.labels) == size
    assert after.smashed.is_floating_point()
    assert after.smashed.isfinite().all()
    assert not after.smashed.requires_grad
    assert after.labels.dtype == torch.int64


def test_an_update_keeps_names_shapes_types_and_its_client(name):
    before = an_update()
    after = create("defense", name).protect_update(before, rng())
    assert isinstance(after, WeightUpdate)
    assert (after.client, after.round, after.tier) == (4, 9, 2)
    for ours, theirs in ((after.weights, before.weights), (after.head, before.head)):
        assert list(ours) == list(theirs)
        for key, tensor in ours.items():
            assert (tensor.shape, tensor.dtype) == (theirs[key].shape, theirs[key].dtype)
            assert not tensor.requires_grad


def test_messages_are_answered_and_not_written_to(name):
    batch, update = a_batch(), an_update()
    batch_before, update_before = copy.deepcopy(batch), copy.deepcopy(update)
    defense = create("defense", name)
    defense.protect_batch(batch, rng())
    defense.protect_update(update, rng())
    assert torch.equal(batch.smashed, batch_before.smashed)
    assert torch.equal(batch.labels, batch_before.labels)
    for ours, theirs in ((update.weights, update_before.weights), (update.head, update_before.head)):
        assert all(torch.equal(tensor, theirs[key]) for key, tensor in ours.items())


def test_all_chance_comes_from_the_stream_that_is_handed_in(name):
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first, again = (create("defense", name).protect_batch(a_batch(), rng()) for _ in range(2))
    ours, theirs = (create("defense", name).protect_update(an_update(), rng()) for _ in range(2))
    assert torch.equal(first.smashed, again.smashed)
    assert torch.equal(first.labels, again.labels)
    assert all(torch.equal(tensor, theirs.weights[key]) for key, tensor in ours.weights.items())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_chain_of_it_is_the_defense_itself(name):
    alone = create("defense", name).protect_batch(a_batch(), rng())
    chained = DefenseChain([create("defense", name)]).protect_batch(a_batch(), rng())
    assert torch.equal(alone.smashed, chained.smashed)
    assert torch.equal(alone.labels, chained.labels)
