"""A malicious server: what it sends, how much that shows, and how visible it is."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from dtfl_private.attacking.evidence import TrainingKnowledge
from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared import inverse_network
from dtfl_private.attacks.tier_downgrade import TierDowngrade
from dtfl_private.attacks.weight_trap import WeightTrap
from dtfl_private.errors import InputError
from dtfl_private.leakage.visibility import loss_ratio, weight_jump
from dtfl_private.protocol.adversaries import find_adversary, require
from dtfl_private.randomness import isolated


@pytest.fixture(autouse=True)
def half_the_width(monkeypatch):
    """Let the network that decodes have half as many channels."""
    monkeypatch.setattr(inverse_network, "_WIDTHS", {"small": 128})


@pytest.fixture
def malicious(make_view):
    """Make the view of a malicious server before the victims' round, and what it is honest to send."""

    def make(half):
        view, _ = make_view(half)
        download = view.seen[0].download
        evidence = replace(
            view._evidence,
            round=replace(view._evidence.round, seen=[]),
            training=TrainingKnowledge(
                initial_model={},
                final_model={},
                logits=lambda *_: torch.empty(0),  # not asked for
                honest=lambda tier: replace(download, tier=tier),
                shadows=SimpleNamespace(train=None),
            ),
        )
        adversary = find_adversary("server-malicious")
        return View(evidence, adversary=adversary, knows="same", attack="weight-trap", seed=0), download

    return make


@pytest.fixture(scope="module")
def lossy():
    """A client half that keeps little: one of four pixels, few channels, rectified."""
    with isolated(0, "lossy"):
        return nn.Sequential(nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ReLU())


def decoded_error(view, download, weights):
    """Return the error of the best linear map from activations to images, on images that it was not fitted to."""
    program, known = view.program_with(replace(download, weights=weights), adaptive=True), view.auxiliary
    seen, unseen = (
        nn.functional.pad(program.activations(images).flatten(1), (0, 1), value=1.0).double()
        for images in (known.images, known.validation_images)
    )
    ridge = 1e-3 * torch.eye(seen.shape[1], dtype=torch.float64)
    fit = torch.linalg.solve(seen.T @ seen + ridge, seen.T @ known.images.flatten(1).double())
    return float((unseen @ fit - known.validation_images.flatten(1)).square().mean())


def test_planted_weights_let_more_pixels_through(malicious, lossy):
    view, download = malicious(lossy)
    sent = WeightTrap(trap_steps=200).tamper(view)
    assert (sent.tier, sent.weights.keys()) == (1, download.weights.keys())
    assert decoded_error(view, download, sent.weights) < 0.8 * decoded_error(view, download, download.weights)


def test_stealth_keeps_planted_weights_near_the_honest_ones(malicious, lossy):
    view, download = malicious(lossy)
    bold, shy, still = (
        weight_jump(download.weights, WeightTrap(trap_steps=40, stealth=stealth).tamper(view).weights)
        for stealth in (0.0, 1.0, 1e3)
    )
    assert bold > 2 * shy > 2 * still
    assert still < 0.05


def test_the_trap_is_the_same_each_time(malicious, lossy):
    view, _ = malicious(lossy)
    first, second = (WeightTrap(trap_steps=5).tamper(view).weights for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_shallowest_tier_is_named(malicious, lossy):
    view, _ = malicious(lossy)
    sent = TierDowngrade().tamper(view)
    assert (sent.tier, dict(sent.weights)) == (1, {})


@pytest.mark.parametrize(("attack", "lacks"), [(TierDowngrade, "chooses-tier"), (WeightTrap, "chooses-weights")])
def test_an_honest_server_does_neither(attack, lacks):
    with pytest.raises(InputError, match=f"{lacks}.*use --adversary server-malicious"):
        require(attack.facts.needs, find_adversary("server-honest-but-curious"), "same", "it")


def test_the_jump_is_relative_and_leaves_statistics_out():
    honest = {"w": torch.tensor([3.0, 4.0]), "bn.running_mean": torch.zeros(2)}
    sent = {"w": torch.tensor([3.0, 5.0]), "bn.running_mean": torch.full((2,), 100.0)}
    assert weight_jump(honest, sent) == pytest.approx(1 / 5)
    assert weight_jump(honest, honest) == 0.0


def test_the_jump_is_seen_whatever_its_sign_and_not_where_nothing_is_shared():
    assert weight_jump({"w": torch.ones(9)}, {"w": -torch.ones(9)}) == pytest.approx(2.0)
    assert weight_jump({"w": torch.ones(9)}, {"v": torch.ones(9)}) == 0.0


def test_the_loss_ratio_compares_with_the_honest_loss():
    assert loss_ratio(torch.tensor(0.5), torch.tensor(2.0)) == 4.0
    with pytest.raises(ValueError, match="no ratio"):
        loss_ratio(torch.tensor(math.nan), torch.tensor(1.0))
