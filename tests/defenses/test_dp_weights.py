from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dtfl_private.defenses.dp_weights import DpWeights, poisson_sample, sampling_rate
from dtfl_private.errors import InputError, RunError
from dtfl_private.numerics import Numerics
from dtfl_private.plugins.registry import create
from dtfl_private.privacy.sampled_gaussian_epsilon import precise_epsilon
from dtfl_private.protection.client_context import ClientRound, LocalTraining
from dtfl_private.protection.cost import RoundRelease, RunFacts
from dtfl_private.protocol.guarantees import PrivacyTarget, SampledGaussian

RUN = RunFacts(rounds=20, batch_size=32, local_epochs=1, classes=10, records_K=(100, 250, 40, 250))


def at(round_=1, records=20):
    return ClientRound(seed=1, client=3, round=round_, tier=1, records=records, classes=3)


def a_network():
    torch.manual_seed(0)
    return nn.ModuleList([nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU()), nn.Linear(4, 3)]).train()


def training(network, *, records=20, batch_size=5, steps=4, lr=0.1, optimizer=torch.optim.SGD, scale=1.0):
    """Local training on random images; the samples that are fetched are kept in ``fetched``."""
    generator = torch.Generator().manual_seed(5)
    images, labels = scale * torch.randn(records, 1, 6, 6, generator=generator), torch.arange(records) % 3
    fetched = []

    def fetch(numbers):
        fetched.append(numbers)
        return images[numbers], labels[numbers]

    def mean_loss(inputs, labels):
        encoder, head = network
        return F.cross_entropy(head(encoder(inputs).mean((2, 3))), labels)

    made = LocalTraining(
        modules=network,
        mean_loss=mean_loss,
        fetch=fetch,
        optimizer=optimizer(network.parameters(), lr=lr),
        records=records,
        batch_size=batch_size,
        steps=steps,
        numerics=Numerics(),
    )
    return made, fetched


def weights(network):
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()]).clone()


def test_a_step_is_the_noisy_clipped_mean_of_the_slow_loop():
    """Noise so small that it is gone leaves the sum of clipped gradients over the expected batch."""
    network, slow = a_network(), a_network()
    run, fetched = training(network, steps=1)
    DpWeights(noise_multiplier=1e-9, clip=0.3).training_pass(run, at())
    other, _ = training(slow)
    total = torch.zeros_like(weights(slow))
    (sample,) = fetched
    assert len(sample) not in (0, 5)  # else the expected and the actual size could not be told apart
    for record in sample:
        slow.zero_grad()
        other.mean_loss(*other.fetch(record[None])).backward()
        gradient = torch.cat([parameter.grad.flatten() for parameter in slow.parameters()])
        total += gradient * min(1.0, 0.3 / float(gradient.norm()))
    torch.testing.assert_close(weights(network), weights(slow) - 0.1 * total / 5, rtol=1e-5, atol=1e-7)


def test_it_takes_the_planned_steps_and_returns_a_loss_for_each_sample_that_was_not_empty():
    run, fetched = training(a_network(), steps=9)
    losses = DpWeights().training_pass(run, at())
    assert 0 < len(losses) == len(fetched) <= 9
    assert all(loss.ndim == 0 and loss.isfinite() and not loss.requires_grad for loss in losses)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_empty_samples_are_steps_of_noise_without_a_loss(optimizer, monkeypatch):
    network = a_network()
    before = weights(network)
    run, fetched = training(network, optimizer=optimizer)
    monkeypatch.setattr("dtfl_private.defenses.dp_weights.poisson_sample", lambda *_: torch.zeros(0, dtype=torch.int64))
    assert DpWeights().training_pass(run, at()) == []
    assert fetched == []
    moved = weights(network) - before
    assert moved.isfinite().all()
    assert (moved != 0).all()


def test_the_same_round_gives_the_same_weights_and_another_round_others():
    def trained(round_):
        network = a_network()
        DpWeights().training_pass(training(network)[0], at(round_))
        return weights(network)

    assert torch.equal(trained(1), trained(1))
    assert not torch.equal(trained(1), trained(2))


def test_the_global_generator_is_left_alone():
    run, _ = training(network := a_network())
    before = torch.random.get_rng_state()
    DpWeights().training_pass(run, at())
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(not vars(parameter) for parameter in network.parameters())


def test_gradients_of_any_size_move_the_weights_by_the_clipping_norm_at_most():
    network = a_network()
    before = weights(network)
    run, fetched = training(network, steps=1, lr=1.0, scale=1e3)
    DpWeights(noise_multiplier=1e-9, clip=0.01).training_pass(run, at())
    assert float((weights(network) - before).norm()) <= 0.01 * len(fetched[0]) / 5 * (1 + 1e-4)


def test_statistics_that_training_gathers_are_not_let_out():
    network = a_network()
    network.register_buffer("seen", torch.zeros(1))
    run, _ = training(network)

    def counting(inputs, labels):
        network.seen += len(inputs)
        return run.mean_loss(inputs, labels)

    with pytest.raises(RunError, match="cannot protect buffer 'seen', which training changed"):
        DpWeights().training_pass(replace(run, mean_loss=counting), at())


def test_small_clients_are_in_every_sample():
    assert sampling_rate(100, 32) == 0.32
    assert sampling_rate(20, 32) == 1.0
    assert poisson_sample(20, 1.0, torch.Generator()).tolist() == list(range(20))


def test_what_it_guarantees_of_a_round():
    defense = DpWeights(noise_multiplier=1.3, epsilon=8.0, delta=1e-6)
    released = RoundRelease(records=100, batch_size=32, steps=4, epochs=1)
    assert defense.guarantees(released) == (
        SampledGaussian(
            noise_multiplier=1.3, sampling_rate=0.32, steps=4, target=PrivacyTarget(delta=1e-6, epsilon=8.0)
        ),
    )
    # What was sent before it dropped out was made with these weights.
    assert defense.guarantees(replace(released, update=False)) == defense.guarantees(released)
    assert defense.guarantees(replace(released, update=False, batches=False)) == ()


def test_a_target_epsilon_becomes_noise_that_serves_the_worst_client_in_every_round():
    noise = DpWeights(epsilon=8.0).calibrated(RUN).noise
    epsilons = [precise_epsilon([(noise, min(1.0, 32 / n), 20 * -(-n // 32))], 1e-5) for n in RUN.records_K]
    assert 0.99 * 8 < max(epsilons) <= 8


def test_noise_as_given_stays_and_epsilon_given_with_it_is_a_budget():
    for defense in (DpWeights(noise_multiplier=0.7, epsilon=8.0), DpWeights(noise_multiplier=0.7), DpWeights()):
        assert defense.calibrated(RUN) is defense
    assert DpWeights().noise == 1.0
    assert DpWeights(noise_multiplier=0.7, epsilon=8.0).target.epsilon == 8.0


def test_the_noise_is_not_guessed_before_it_is_calibrated():
    with pytest.raises(RuntimeError, match="not known before calibrated"):
        _ = DpWeights(epsilon=8.0).noise


def test_a_calibrated_defense_stays_as_it_is():
    once = DpWeights(epsilon=8.0).calibrated(RUN)
    assert once.calibrated(replace(RUN, rounds=1000)) == once


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("dp-weights:epsilon=0", "epsilon=0 is refused"),
        ("dp-weights:noise_multiplier=-1", "noise_multiplier=-1 is refused"),
        ("dp-weights:clip=0", "clip=0 is refused"),
        ("dp-weights:clip=inf", "clip=inf is refused"),
        ("dp-weights:delta=1", "delta=1 is refused"),
        ("dp-weights:sigma=1", "unknown setting of defense 'dp-weights' 'sigma'"),
    ],
)
def test_wrong_settings_are_refused(spec, message):
    with pytest.raises(InputError, match=message):
        create("defense", spec)


@pytest.mark.parametrize(
    "settings",
    [{"epsilon": 0.0}, {"noise_multiplier": float("inf")}, {"clip": -1.0}, {"delta": 0.0}, {"epsilon": float("nan")}],
)
def test_also_from_python(settings):
    with pytest.raises(InputError, match="is refused"):
        DpWeights(**settings)


def test_impossible_targets_are_refused_with_what_would_work():
    with pytest.raises(InputError, match=r"epsilon=0\.0001 at delta=1e-05 cannot be met in .* ask for epsilon="):
        DpWeights(epsilon=1e-4).calibrated(RUN)
    with pytest.raises(InputError, match=r"delta=0\.01 is not below 1/250.*use delta=0\.0004 or less"):
        DpWeights(delta=0.01).calibrated(RUN)


def test_the_first_value_without_a_key_is_the_epsilon():
    assert create("defense", "dp-weights:8") == DpWeights(epsilon=8.0)
