"""Noise on images: what it does to them, what is claimed of it, and that everything else follows from them."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dtfl_private.defenses.dp_activations import DpActivations
from dtfl_private.defenses.pixel_dp import PixelDp
from dtfl_private.errors import InputError
from dtfl_private.plugins.registry import create
from dtfl_private.privacy.accounting import statements
from dtfl_private.privacy.budget import exceeds
from dtfl_private.privacy.compatibility import check_defenses
from dtfl_private.privacy.disclosure import disclosures
from dtfl_private.privacy.ledger import charge
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.cost import Cut, RoundRelease, RunFacts
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protection.release_reading import Reading, log_likelihood
from dtfl_private.protocol.messages import SmashedBatch

RUN = RunFacts(rounds=25, batch_size=32, local_epochs=2, classes=10, records_K=(100, 250))
ROUND = RoundRelease(records=100, batch_size=32, steps=8, epochs=2)
HARDLY_ANY = 1e-9


def at(records: list[int], number: int = 2, client: int = 3) -> ClientRound:
    where = ClientRound(seed=1, client=client, round=number, tier=1, records=20, classes=3)
    return where.fetching(torch.tensor(records))


def images(count: int = 4, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(count, 1, 6, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("clip", [0.5, 20.0])
def test_each_image_is_clipped_by_itself(scale, clip):
    before = images(scale=scale)
    after = PixelDp(noise_multiplier=HARDLY_ANY, clip=clip).protect_inputs(before, at([0, 1, 2, 3]))
    factors = (clip / before.flatten(1).norm(dim=1)).clamp(max=1).view(-1, 1, 1, 1)
    torch.testing.assert_close(after, before * factors, rtol=1e-4, atol=1e-6)


def test_what_an_image_is_replaced_by_moves_no_other_and_itself_by_twice_the_norm_at_most():
    first = images(scale=100)
    opposite = torch.cat([-first[:1], first[1:]])
    defense = PixelDp(clip=2.0)
    moved = defense.protect_inputs(first, at([0, 1, 2, 3])) - defense.protect_inputs(opposite, at([0, 1, 2, 3]))
    assert 3.999 < float(moved[0].norm()) <= 4.0 + 1e-5
    assert (moved[1:] == 0).all()


def test_images_scaled_to_one_are_never_clipped_by_default():
    white = torch.ones(1, 1, 6, 6)
    torch.testing.assert_close(PixelDp(noise_multiplier=HARDLY_ANY).protect_inputs(white, at([0])), white)


def test_the_noise_has_the_deviation_that_is_claimed():
    """36,000 values: the sample's deviation is within 2 % of the truth but for once in 10^7 times."""
    noisy = PixelDp(noise_multiplier=0.5, clip=3.0).protect_inputs(torch.zeros(1000, 1, 6, 6), at(list(range(1000))))
    assert float(noisy.std()) == pytest.approx(1.5, rel=0.02)


def test_fixed_noise_follows_the_record_through_batches_and_rounds_and_belongs_to_one_client():
    defense, blank = PixelDp(), torch.zeros(2, 1, 6, 6)
    first = defense.protect_inputs(blank, at([5, 7]))
    assert torch.equal(defense.protect_inputs(blank, at([7, 5], number=9)), first.flip(0))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(defense.protect_inputs(blank, at([5, 7], client=4)), first)


def test_fresh_noise_is_another_one_in_every_batch():
    where = at([5, 7])
    first, second = (PixelDp(fixed=False).protect_inputs(torch.zeros(2, 1, 6, 6), where) for _ in range(2))
    assert not torch.equal(first, second)


def test_noise_that_is_repeated_refuses_images_that_are_altered_and_fresh_noise_takes_them():
    altered = replace(RUN, augmented=True)
    with pytest.raises(InputError, match=r"--augment.*fixed=false"):
        PixelDp().calibrated(altered)
    assert PixelDp(fixed=False).calibrated(altered) == PixelDp(fixed=False)


def epsilon_of(defense: PixelDp, rounds: int) -> float:
    ledger = charge((), [guarantee for _ in range(rounds) for guarantee in defense.guarantees(ROUND)])
    ((statement,), wanted) = statements(ledger), f"({rounds * 2} draws" if not defense.fixed else "one draw, repeated"
    assert wanted in statement.sentence
    assert "does not cover the labels" in statement.sentence
    assert statement.epsilon is not None
    return statement.epsilon


@pytest.mark.parametrize("fixed", [True, False])
@pytest.mark.parametrize("noise", [1.0, 4.0, 30.0])
def test_its_epsilon_is_that_of_dp_accounting(fixed, noise):
    import dp_accounting
    from dp_accounting.pld import PLDAccountant

    draws = 1 if fixed else 50
    # Replacing moves an image by twice the clipping norm, which the accountant counts as noise of half the multiplier.
    event = dp_accounting.SelfComposedDpEvent(dp_accounting.GaussianDpEvent(noise / 2), draws)
    exact = PLDAccountant(value_discretization_interval=1e-3).compose(event).get_epsilon(1e-5)
    assert epsilon_of(PixelDp(noise_multiplier=noise, fixed=fixed), 25) == pytest.approx(exact, rel=0.001, abs=0.02)


def test_noise_for_a_target_epsilon_is_enough_and_hardly_more():
    for fixed in (True, False):
        defense = PixelDp(epsilon=8.0, fixed=fixed).calibrated(RUN)
        assert 7.9 < epsilon_of(defense, 25) <= 8.0
    with pytest.raises(InputError, match="delta"):
        PixelDp(delta=0.01).calibrated(RUN)


def test_a_budget_ends_fresh_noise_and_never_a_repeated_draw():
    fresh, fixed = (PixelDp(epsilon=100.0, noise_multiplier=1.0, fixed=fixed) for fixed in (False, True))
    assert exceeds(charge((), fresh.guarantees(ROUND) * 20), fresh.guarantees(ROUND))
    assert not exceeds(charge((), fixed.guarantees(ROUND) * 20), fixed.guarantees(ROUND))


def test_weights_alone_are_covered_too_and_nothing_is_claimed_of_nothing():
    assert PixelDp().guarantees(replace(ROUND, batches=False))
    assert PixelDp().guarantees(replace(ROUND, batches=False, update=False)) == ()


def test_what_is_said_of_each_kind_of_data():
    chain = DefenseChain([PixelDp()])
    said = {entry["what"]: entry for entry in disclosures(chain, {0: charge((), chain.guarantees(ROUND))})}
    assert said["smashed"]["per"] == "image replaced, its label kept"
    assert said["labels"]["sentence"] == "labels are sent in clear"
    assert "the epsilon of the images covers them" in said["weights"]["sentence"]


def test_defenses_that_train_first_and_batch_norm():
    chain = [PixelDp(), DpActivations()]
    with pytest.raises(InputError, match="pixel-dp cannot be combined with dp-activations"):
        check_defenses(chain, "group", "fp32", 1)
    check_defenses([create("defense", "distance-correlation"), PixelDp()], "batch", "bf16", 3)


def test_tokens_and_impossible_clips_are_refused():
    cut = Cut(tier=1, input_shape=(8,), cut_shape=(8, 4), smashed_bytes=128, forward_macs=1, batch_size=4)
    with pytest.raises(InputError, match="not to tokens"):
        PixelDp().check(cut)
    for clip in (0.0, -1.0, math.inf):
        with pytest.raises(InputError, match="clip"):
            PixelDp(clip=clip)


def test_a_reading_knows_of_the_noise_whatever_comes_after_it():
    """The image explains its noisy release better than other images do, also where its zeros were dropped after it."""
    chain = DefenseChain([create("defense", "dropout:p=0.2"), PixelDp(noise_multiplier=0.05)])
    truth, others = images(8), images(16)[8:]
    where = at(list(range(8)))
    smashed = chain.encode(torch.relu(chain.protect_inputs(truth, where)), where)
    message = SmashedBatch(client=3, round=2, tier=1, batch=0, smashed=smashed, labels=torch.zeros(8).long())
    reading = chain.read(Reading.of(chain.protect_batch(message, where).smashed))
    assert reading.deviation is None
    assert not reading.has_known_noise
    right, wrong = (log_likelihood(reading, torch.relu(one)) for one in (truth, others))
    assert (right > wrong).all()
