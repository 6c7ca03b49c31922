"""A client half whose weights the attack does not know, in front of a server's half that it does know."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtfl_private.attacking.base import Target
from dtfl_private.attacks.shared import decoders_by_download, shadow_client
from dtfl_private.attacks.shared.shadow_client import Received
from dtfl_private.attacks.surrogate import Surrogate
from dtfl_private.defenses.gaussian_noise import GaussianNoise
from dtfl_private.errors import InputError
from dtfl_private.leakage.image_metrics import mse
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.messages import SmashedBatch
from dtfl_private.randomness import isolated

ATTACK = Surrogate(shadows=1, steps=200, size="small", decoder_steps=100)


@pytest.fixture(autouse=True)
def half_the_work(monkeypatch):
    """Let shadows learn from half as many images a step, against a discriminator of half the width."""
    monkeypatch.setattr(shadow_client, "LEAST_BATCH", 64)
    monkeypatch.setattr(shadow_client, "WIDTH", 32)


@pytest.fixture(scope="session")
def small(digits) -> tuple[Tensor, Tensor]:
    """Digits of 8x8 pixels, and their labels."""
    return F.avg_pool2d(digits[0], 2), digits[1]


@pytest.fixture(scope="session")
def halves(small) -> tuple[nn.Module, nn.Module]:
    """A client half and a server's half, trained together on digits."""
    images, labels = small
    with isolated(0, "halves"):
        client = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU())
        server = nn.Sequential(nn.Conv2d(4, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10))
        optimizer = torch.optim.Adam([*client.parameters(), *server.parameters()], lr=3e-3)
        for _ in range(3):
            for batch in torch.randperm(1400).split(64):
                optimizer.zero_grad()
                F.cross_entropy(server(client(images[batch] * 2 - 1)), labels[batch]).backward()
                optimizer.step()
    return client, server


def trivial(view, truth: Tensor) -> Tensor:
    known, labels = view.auxiliary, torch.cat([batch.labels for one in view.batches for batch in one])
    means = torch.stack([known.images[known.labels == label].mean(dim=0) for label in range(10)])
    return mse(means[labels], truth)


def test_it_beats_the_mean_of_the_class_without_the_weights(halves, make_view, small):
    client, server = halves
    # One-sided at 3 standard errors of the paired difference: 1 false alarm in 740, and the seed is fixed.
    view, truth = make_view(client, stems=(client,) * 3, server=server, images=small)
    gain = trivial(view, truth) - mse(ATTACK.reconstruct(view), truth)
    assert gain.mean() > 3 * gain.std() / len(gain) ** 0.5


def test_where_nothing_is_sent_nothing_is_found(halves, make_view, small):
    # As above, on the other side: 1 false alarm in 740, and the seed is fixed.
    client, server = halves
    noisy = GaussianNoise(sd=1e4)
    view, truth = make_view(client, noisy, stems=(client,), server=server, images=small)
    gain = trivial(view, truth) - mse(replace(ATTACK, steps=20, decoder_steps=30).reconstruct(view), truth)
    assert gain.mean() <= 3 * gain.std() / len(gain) ** 0.5


def test_the_weights_are_not_looked_at(halves, make_view, small, monkeypatch):
    monkeypatch.setattr(decoders_by_download, "better_guess", lambda *_: None)  # although so few steps warrant it
    client, server = halves
    short = replace(ATTACK, shadows=2, steps=3, decoder_steps=1)
    view, _ = make_view(client, server=server, images=small)
    first = short.reconstruct(view)
    hidden, _ = make_view(client, server=server, images=small)
    evidence = hidden._evidence
    (seen,) = evidence.round.seen
    blank = {name: torch.zeros_like(tensor) for name, tensor in seen.download.weights.items()}
    spoilt = replace(seen, download=replace(seen.download, weights=blank))
    hidden._evidence = replace(evidence, round=replace(evidence.round, seen=[spoilt]))
    assert torch.equal(short.reconstruct(hidden), first)


def test_the_seed_decides(halves, make_view, small, monkeypatch):
    monkeypatch.setattr(decoders_by_download, "better_guess", lambda *_: None)  # although so few steps warrant it
    short = replace(ATTACK, shadows=2, steps=3, decoder_steps=1)
    first, again, other = (
        short.reconstruct(make_view(halves[0], server=halves[1], images=small, seed=seed)[0]) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_distance_of_moments_is_zero_only_between_alike_activations():
    smashed = torch.randn(64, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(64) % 4
    received = Received([SmashedBatch(client=0, round=1, tier=1, batch=0, smashed=smashed, labels=labels)])
    assert received.distance(smashed, labels).item() == pytest.approx(0, abs=1e-10)
    assert received.distance(smashed + 1, labels).item() > 0.5
    assert received.distance(smashed[:, [1, 1, 2]], labels).item() > 0.05
    assert received.distance(smashed, labels.flip(0)).item() > 0.05


def test_what_is_no_map_is_refused():
    with pytest.raises(InputError, match="surrogate"):
        ATTACK.check(Target(tier=1, input_shape=(1, 8, 8), cut_shape=(7,), classes=2, defense=DefenseChain()))
