"""Noise with learnt scales: what the scales are learnt from, and what an adversary is given of them."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dtfl_private.defenses.adversarial_decoder import AdversarialDecoder
from dtfl_private.defenses.dp_activations import DpActivations
from dtfl_private.defenses.dp_weights import DpWeights
from dtfl_private.defenses.dropout import Dropout
from dtfl_private.defenses.learned_noise import LearnedNoise
from dtfl_private.errors import InputError
from dtfl_private.privacy.compatibility import check_defenses
from dtfl_private.protection.client_context import ClientRound, LocalStep, known_memory
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protection.release_reading import Reading

SHAPE = (2, 3, 3)
KEY = "known/1/weight/log_scale"


def at(memory: dict[str, Tensor] | None = None, seed: int = 0) -> ClientRound:
    return ClientRound(seed=seed, client=0, round=1, tier=1, records=9, classes=2, memory=memory or {})


def activations(count: int = 16, seed: int = 0) -> Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(seed))


def stepped(defense: LearnedNoise, now: ClientRound, weights: Tensor, seed: int = 0) -> Tensor:
    """Take a step on a batch whose loss is the weighed mean square of the noisy activations; return the loss."""
    smashed = activations(seed=seed).requires_grad_()
    noisy = defense.encode(smashed, now)
    plain = (weights * noisy.square()).sum() / len(noisy)
    step = LocalStep(inputs=smashed.detach(), smashed=noisy, logits=noisy.flatten(1), labels=torch.zeros(16).long())
    return defense.local_loss(plain, step, now)


def scales(now: ClientRound) -> Tensor:
    return now.memory[KEY].exp()


def test_at_first_it_is_normal_noise_of_one_deviation():
    """144,000 values: the sample's deviation is within 2 % of the truth but for once in 10^20 times."""
    smashed = torch.zeros(8000, *SHAPE)
    first, second = (LearnedNoise(sd=0.7).encode(smashed, now) for now in [at()] for _ in range(2))
    assert float(first.std()) == pytest.approx(0.7, rel=0.02)
    assert not torch.equal(first, second)


def test_noise_grows_where_the_loss_does_not_care_and_shrinks_where_it_does():
    weights = torch.zeros(SHAPE)
    weights[0] = 5.0
    defense, now = LearnedNoise(sd=0.5, lr=0.05), at()
    for seed in range(60):
        stepped(defense, now, weights, seed)
    assert (scales(now)[0] < 0.3).all()
    assert (scales(now)[1] > 2.0).all()


def test_scales_settle_where_another_nat_of_noise_costs_what_it_earns():
    """The expected loss is w E[z^2] + w scale^2, and 2 w scale^2 = reward / values at its least: scale 0.5 here."""
    values, reward = math.prod(SHAPE), 0.9
    weights = torch.full(SHAPE, reward / values / 2 / 0.5**2)
    for start in (0.2, 1.0):
        defense, now = LearnedNoise(reward=reward, sd=start, lr=0.02), at()
        found = []
        for seed in range(400):
            stepped(defense, now, weights, seed)
            found.append(scales(now).log().mean())
        assert float(torch.stack(found[200:]).mean().exp()) == pytest.approx(0.5, rel=0.1)


def test_the_loss_gains_the_log_of_the_signal_to_noise_ratio():
    smashed = activations().double()
    step = LocalStep(inputs=smashed, smashed=smashed, logits=smashed.flatten(1), labels=torch.zeros(16).long())
    loss = LearnedNoise(reward=0.3, sd=0.5).local_loss(torch.tensor(2.0), step, at())
    ratio = float(smashed.square().mean()) / 0.25
    assert float(loss) == pytest.approx(2 + 0.3 * math.log(ratio) / 2, rel=1e-6)
    blank = replace(step, smashed=torch.zeros_like(smashed))
    assert LearnedNoise().local_loss(torch.tensor(2.0), blank, at()).isfinite()


def test_the_step_leaves_the_gradient_of_the_network_alone():
    """The scales are stepped by a gradient of their own: that of the network is that of the sum of the two terms."""
    defense, now, weights = LearnedNoise(reward=0.3, sd=0.5), at(), torch.ones(SHAPE)
    smashed = activations().requires_grad_()
    noisy = defense.encode(smashed, now)
    step = LocalStep(inputs=smashed, smashed=noisy, logits=noisy, labels=torch.zeros(16).long())
    (ours,) = torch.autograd.grad(defense.local_loss((weights * noisy.square()).sum(), step, now), smashed)
    expected = 2 * noisy + 0.3 * smashed / smashed.square().sum()
    torch.testing.assert_close(ours, expected.detach())


def test_it_learns_by_what_it_added_whatever_acts_after_it():
    chain, now = DefenseChain([LearnedNoise(reward=0, lr=0.1), Dropout(p=0.5)]), at()
    noisy = chain.encode(activations().requires_grad_(), now)
    step = LocalStep(inputs=noisy, smashed=noisy, logits=noisy, labels=torch.zeros(16).long())
    chain.local_loss(noisy.square().sum(), step, now)
    assert now.member(0).memory[KEY].exp().mean() < 0.96 * LearnedNoise().sd


def test_without_a_tape_nothing_is_learnt():
    now = at()
    with torch.no_grad():
        LearnedNoise().encode(activations(), now)
    assert not now.memory


def test_scales_and_adams_state_live_on_in_memory_and_each_tier_has_its_own():
    defense, weights = LearnedNoise(), torch.ones(SHAPE)
    whole = at()
    for seed in range(6):
        stepped(defense, whole, weights, seed)
    first = at()
    for seed in range(3):
        stepped(defense, first, weights, seed)
    second = replace(first, memory={name: tensor.clone() for name, tensor in first.remembered().items()})
    for seed in range(3, 6):
        stepped(defense, second, weights, seed)
    assert whole.memory.keys() == second.memory.keys()
    assert all(torch.equal(tensor, second.memory[name]) for name, tensor in whole.memory.items())
    stepped(defense, replace(whole, tier=2), weights)
    assert "known/2/weight/log_scale" in whole.memory


def test_an_adversary_is_given_the_scales_and_no_secret_of_another_defense():
    chain, now = DefenseChain([AdversarialDecoder(), LearnedNoise()]), at()
    smashed = activations().requires_grad_()
    noisy = chain.encode(smashed, now)
    step = LocalStep(inputs=torch.randn(16, 1, 6, 6), smashed=noisy, logits=noisy, labels=torch.zeros(16).long())
    chain.local_loss(noisy.square().sum(), step, now)
    kept = now.remembered()
    known = known_memory(kept)
    assert len(known) < len(kept)
    assert {name.split("/")[0] for name in known} == {"1"}
    assert f"1/{KEY}" in known


def test_a_reading_has_the_learnt_deviation_of_each_value():
    learnt = torch.linspace(-2, 1, math.prod(SHAPE)).reshape(SHAPE)
    chain, received = DefenseChain([Dropout(p=0), LearnedNoise(sd=0.5)]), activations(3)
    reading = chain.read(Reading.of(received, known={f"1/{KEY}": learnt}, tier=1))
    torch.testing.assert_close(torch.as_tensor(reading.deviation), learnt.exp().expand(3, *SHAPE))
    assert reading.has_known_noise
    elsewhere = chain.read(Reading.of(received, known={f"1/{KEY}": learnt}, tier=2))
    torch.testing.assert_close(torch.as_tensor(elsewhere.deviation), torch.full((3, *SHAPE), 0.5))


@pytest.mark.parametrize("other", [DpActivations(), DpWeights()])
def test_noise_learnt_from_all_records_goes_with_no_guarantee_per_record(other):
    with pytest.raises(InputError, match="learned-noise"):
        check_defenses([LearnedNoise(), other], "group", "fp32", 1)
