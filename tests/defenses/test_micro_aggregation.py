"""Means of groups in place of records: what is sent, and what an adversary makes of it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dtfl_private.defenses.gaussian_noise import GaussianNoise
from dtfl_private.defenses.micro_aggregation import MicroAggregation
from dtfl_private.defenses.quantize import Quantize
from dtfl_private.errors import InputError
from dtfl_private.protection.base import Defense
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.cost import RunFacts
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protection.release_reading import Reading, log_likelihood, misfit
from dtfl_private.protection.wire_format import WireFormat
from dtfl_private.protocol.messages import SmashedBatch

AT = ClientRound(seed=1, client=3, round=2, tier=1, records=20, classes=3)
LABELS = torch.tensor([0, 1, 0, 2, 1, 0, 1, 0, 0, 1, 2, 0])


def a_batch(count: int = 12, shape: tuple[int, ...] = (2, 3, 3), seed: int = 0) -> SmashedBatch:
    smashed = torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))
    return SmashedBatch(client=3, round=2, tier=1, batch=0, smashed=smashed, labels=LABELS[:count])


def sent(defense: Defense, batch: SmashedBatch) -> Tensor:
    return defense.protect_batch(batch, AT).smashed


@pytest.mark.parametrize("by_class", [True, False])
@pytest.mark.parametrize("shape", [(2, 3, 3), (4, 5), (7,)])
@pytest.mark.parametrize("k", [2, 3, 5, 12])
def test_every_vector_is_sent_for_k_records_at_least_and_is_their_mean(k, shape, by_class):
    batch = a_batch(shape=shape)
    after = MicroAggregation(k=k, by_class=by_class).protect_batch(batch, AT)
    assert torch.equal(after.labels, batch.labels)
    rows, numbers, counts = torch.unique(after.smashed.flatten(1), dim=0, return_inverse=True, return_counts=True)
    assert counts.min() >= k
    for number, row in enumerate(rows):
        torch.testing.assert_close(row, batch.smashed[numbers == number].flatten(1).mean(dim=0))
    torch.testing.assert_close(after.smashed.mean(dim=0), batch.smashed.mean(dim=0))


def test_groups_are_of_one_class_unless_there_are_too_few_or_it_is_not_asked_for():
    smashed = a_batch().smashed
    smashed[LABELS == 1] = smashed[LABELS == 0][:4] + 1e-3  # nearer to records of another class than to their own
    batch = replace(a_batch(), smashed=smashed)
    classes = [set(), set()]
    for found, by_class in zip(classes, (True, False), strict=True):
        after = sent(MicroAggregation(k=2, by_class=by_class), batch)
        for row in torch.unique(after.flatten(1), dim=0):
            found.add(frozenset(LABELS[(after.flatten(1) == row).all(dim=1)].tolist()))
    assert classes[0] == {frozenset({0}), frozenset({1}), frozenset({2})}
    assert frozenset({0, 1}) in classes[1]


def test_k_1_is_the_identity():
    batch = a_batch()
    assert MicroAggregation(k=1).protect_batch(batch, AT) is batch


def test_the_order_of_the_records_does_not_matter():
    batch, order = a_batch(), torch.randperm(12, generator=torch.Generator().manual_seed(3))
    moved = replace(batch, smashed=batch.smashed[order], labels=batch.labels[order])
    torch.testing.assert_close(sent(MicroAggregation(), moved), sent(MicroAggregation(), batch)[order])


def test_a_batch_that_is_too_small_is_withheld():
    assert not sent(MicroAggregation(k=4), a_batch(3)).any()
    with pytest.raises(InputError, match=r"batches have 2.*--batch-size 3"):
        MicroAggregation().calibrated(RunFacts(rounds=1, batch_size=2, local_epochs=1, classes=2, records_K=(9,)))


def read(chain: DefenseChain, received: Tensor) -> Reading:
    return chain.read(Reading.of(received))


@pytest.mark.parametrize("wire", [None, "int8", "bf16"])
def test_an_adversary_sees_the_groups_and_explains_each_by_the_mean_of_its_images(wire):
    batch = a_batch()
    chain = DefenseChain([MicroAggregation()], None if wire is None else WireFormat(kind=wire))
    reading = read(chain, sent(chain, batch))
    assert reading.groups is not None
    assert len(reading.groups.unique()) == 3  # of 6 records of class 0, two; 4 of class 1, one; the 2 of class 2 join
    assert misfit(reading, batch.smashed).max() < 1e-3
    # Members may change places: their mean is the same.
    first, second = (reading.groups == reading.groups[0]).nonzero().flatten()[:2].tolist()
    swapped = batch.smashed.clone()
    swapped[[first, second]] = swapped[[second, first]]
    assert misfit(reading, swapped).max() < 1e-3
    assert misfit(reading, a_batch(seed=9).smashed).min() > 0.1


def test_what_was_withheld_shows_nothing():
    chain = DefenseChain([MicroAggregation(k=4)])
    reading = read(chain, sent(chain, a_batch(3)))
    assert not reading.shown.any()
    assert (misfit(reading, a_batch(3).smashed) == 0).all()


def test_noise_that_comes_later_hides_the_groups_and_packing_does_not():
    batch = a_batch()
    noisy, packed = (DefenseChain([MicroAggregation(), other]) for other in (GaussianNoise(sd=0.3), Quantize()))
    hidden = read(noisy, sent(noisy, batch))
    assert hidden.groups is None
    assert hidden.deviation is None
    right, wrong = (log_likelihood(hidden, a_batch(seed=seed).smashed).sum() for seed in (0, 9))
    assert right > wrong
    assert read(packed, sent(packed, batch)).groups is not None
