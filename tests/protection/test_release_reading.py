"""What a release shows of its activations: against closed forms, and against what the defenses really send."""

import math
from dataclasses import replace

import pytest
import torch
from scipy import stats
from torch import Tensor

from dtfl_private.defenses.channel_shuffle import ChannelShuffle
from dtfl_private.defenses.dp_activations import DpActivations
from dtfl_private.defenses.dropout import Dropout
from dtfl_private.defenses.gaussian_noise import GaussianNoise
from dtfl_private.defenses.laplace_noise import LaplaceNoise
from dtfl_private.defenses.quantize import Quantize
from dtfl_private.defenses.top_k import TopK
from dtfl_private.protection.base import Defense
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.conditional import only_where
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protection.release_reading import Reading, evidence, log_likelihood, misfit
from dtfl_private.protocol.messages import SmashedBatch

SHAPE = (4, 5, 5)


def activations(seed: int = 0, records: int = 3) -> Tensor:
    return torch.randn(records, *SHAPE, generator=torch.Generator().manual_seed(seed))


def released(defense: Defense, smashed: Tensor, seed: int = 1) -> Tensor:
    at = ClientRound(seed=seed, client=0, round=1, tier=1, records=9, classes=2)
    sent = SmashedBatch(
        client=0, round=1, tier=1, batch=0, smashed=defense.encode(smashed, at), labels=torch.zeros(len(smashed)).long()
    )
    return defense.protect_batch(sent, at).smashed


def read(defense: Defense, received: Tensor) -> Reading:
    return defense.read(Reading.of(received))


def gain(defense: Defense, received: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Return the log likelihood ratio (B,) of two guesses."""
    reading = read(defense, received)
    return log_likelihood(reading, one) - log_likelihood(reading, other)


@pytest.mark.parametrize(
    ("defense", "law"),
    [(GaussianNoise(sd=0.7), stats.norm(scale=0.7)), (LaplaceNoise(sd=0.7), stats.laplace(scale=0.7 / math.sqrt(2)))],
)
def test_noise_has_its_own_density(defense, law):
    truth, other = activations(), activations(5)
    received = released(defense, truth)
    expected = [law.logpdf((received - guess).double()).sum(axis=(1, 2, 3)) for guess in (truth, other)]
    torch.testing.assert_close(
        gain(defense, received, truth, other), torch.tensor(expected[0] - expected[1]), rtol=1e-6, atol=1e-6
    )


def test_under_noise_a_value_left_out_is_one_of_two():
    p, sd = 0.4, 0.3
    chain = DefenseChain([Dropout(p=p), GaussianNoise(sd=sd)])
    truth, other = activations(), activations(5)
    received = released(chain, truth).double()

    def by_hand(guess: Tensor) -> Tensor:
        kept = stats.norm(scale=sd).pdf(received - guess.double() / (1 - p))
        out = stats.norm(scale=sd).pdf(received)
        return torch.tensor((1 - p) * kept + p * out).log().sum(dim=(1, 2, 3))

    torch.testing.assert_close(
        gain(chain, received.float(), truth, other), by_hand(truth) - by_hand(other), rtol=1e-5, atol=1e-3
    )


def test_what_was_left_out_shows_without_noise_and_counts_for_nothing():
    defense = Dropout(p=0.5)
    truth = activations()
    received = released(defense, truth)
    reading = read(defense, received)
    assert torch.equal(reading.shown, received != 0)
    hidden = torch.where(reading.shown, truth, 100.0)
    assert misfit(reading, truth).max() < 1e-10
    assert torch.equal(misfit(reading, hidden), misfit(reading, truth))
    assert misfit(Reading.of(received), truth).min() > 0.3  # an attacker who does not know of the zeros


@pytest.mark.parametrize("bits", [4, 8])
def test_rounded_values_may_be_anywhere_within_their_step(bits):
    defense = Quantize(bits=bits)
    truth = activations()
    received = released(defense, truth)
    step = (received.flatten(1).amax(1) - received.flatten(1).amin(1)) / (2**bits - 1)
    reading = read(defense, received)
    assert gain(defense, received, truth, received).abs().max() < 1e-6
    blind = Reading.of(received)
    assert (misfit(reading, truth) < 0.5 * misfit(blind, truth)).all()  # not nearest to the middle of a step
    outside = received + 1.01 * step.view(-1, 1, 1, 1)
    assert (misfit(reading, outside) > 0.5 * misfit(blind, outside)).all()


def test_what_was_not_sent_is_smaller_than_what_was():
    defense = TopK(share=0.3)
    truth = activations()
    reading = read(defense, released(defense, truth))
    assert misfit(reading, truth).max() < 1e-10
    assert (misfit(reading, torch.where(reading.shown, truth, 3.0)) > 0.1).all()


def test_where_more_is_sent_than_there_is_the_rest_is_zero():
    truth = (activations() > 0).float()
    reading = read(TopK(share=1.0), released(TopK(share=1.0), truth))
    assert misfit(reading, truth).max() == 0
    assert (misfit(reading, torch.where(truth == 0, 0.5, truth)) > 0.01).all()


def test_what_was_left_out_before_a_selection_may_have_been_large():
    chain = DefenseChain([Dropout(p=0.5), TopK(share=0.2)])
    truth = activations()
    received = released(chain, truth)
    hidden = truth.abs().masked_fill(received != 0, 0).flatten(1).amax(dim=1)
    assert (hidden > received.abs().flatten(1).amax(dim=1) / 4).all()  # larger than much that was sent, times 1 - p
    assert misfit(read(chain, received), truth).max() < 1e-10


def test_nothing_left_out_is_nothing_hidden():
    truth = activations().relu()
    received = released(Dropout(p=0.0), truth)
    reading = read(Dropout(p=0.0), received)
    assert reading.shown.all()
    assert (misfit(reading, torch.where(truth == 0, 0.5, truth)) > 0.01).all()


@pytest.mark.parametrize(
    "defense", [Quantize(bits=8), DefenseChain([Dropout(p=0.5), DpActivations(noise_multiplier=1e-7, clip=100.0)])]
)
def test_next_to_no_noise_is_no_reason_to_believe_anything(defense):
    """A record of equal values is rounded by nothing; noise may be far below the precision of the numbers."""
    truth = torch.full((3, *SHAPE), 0.7)
    reading = read(defense, released(defense, truth))
    assert (misfit(reading, truth + 0.5) > misfit(reading, truth) + 0.1).all()


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_the_norm_to_clip_to_is_that_of_what_was_not_left_out(factor):
    chain = DefenseChain([Dropout(p=0.4), DpActivations(noise_multiplier=0.01, clip=5.0)])
    truth = activations(records=20)
    reading = read(chain, released(chain, truth))
    assert reading.clip is not None
    wrong = replace(reading, clip=reading.clip * factor)
    assert log_likelihood(reading, truth).mean() > log_likelihood(wrong, truth).mean()


def test_a_record_scaled_down_is_compared_at_its_new_norm():
    truth = activations()
    norms = truth.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    reading = Reading.of(truth / norms)
    assert misfit(Reading(**{**vars(reading), "clip": 1.0}), truth).max() < 1e-10
    assert misfit(reading, truth).min() > 1


def test_a_chain_is_read_from_its_end_and_messages_come_after_activations():
    # By position the noise comes first, but dropout acts on the activations, before any message.
    chain = DefenseChain([GaussianNoise(sd=0.3), Dropout(p=0.5)])
    reading = read(chain, released(chain, activations()))
    assert reading.left_out == 0.5
    assert reading.shown.all()
    torch.testing.assert_close(torch.as_tensor(reading.deviation), torch.tensor(0.15))


def test_an_order_is_not_read():
    received = released(ChannelShuffle(), activations())
    assert torch.equal(read(ChannelShuffle(), received).values, received)


def test_records_can_be_taken_apart():
    chain = DefenseChain([Dropout(p=0.4), Quantize(bits=4)])
    truth = activations()
    reading = read(chain, released(chain, truth))
    parts = torch.cat([misfit(reading[start : start + 1], truth[start : start + 1]) for start in range(3)])
    torch.testing.assert_close(parts, misfit(reading, truth))


@pytest.mark.parametrize("shape", ["normal", "laplace"])
def test_misfits_weighed_by_their_evidence_differ_as_log_likelihoods_do(shape):
    chance = torch.Generator().manual_seed(0)
    one, other, received = (torch.rand(3, 5, generator=chance) for _ in range(3))
    reading = Reading.of(received).noisier(0.3, shape)
    worth = evidence(reading) * (misfit(reading, one) - misfit(reading, other))
    torch.testing.assert_close(
        worth.double(), -2 * (log_likelihood(reading, one) - log_likelihood(reading, other)), rtol=1e-4, atol=1e-4
    )


def test_what_is_known_of_a_memory_is_found_at_its_place_in_the_chain_of_the_run():
    """Where another member's rule does not hold, the chain at a client is shorter than that of the run."""
    seen = []

    class Knowing(Defense):
        def read(self, reading):
            seen.append(dict(reading.known))
            return reading

    whole = DefenseChain([only_where("tier=1", Defense()), only_where("tier=2", Knowing())])
    known = {"0/known/scale": torch.zeros(1), "1/known/scale": torch.ones(1)}
    reading = Reading.of(torch.zeros(2, 3), known, tier=2)
    assert whole.at(2).read(reading).known == known
    assert [one["known/scale"].item() for one in seen] == [1]
