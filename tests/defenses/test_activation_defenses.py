"""Dropout and the information bottleneck: what happens to activations inside the forward pass."""

import math

import pytest
import torch

from dtfl_private.defenses.dropout import Dropout
from dtfl_private.defenses.information_bottleneck import InformationBottleneck, kl_to_standard_normal
from dtfl_private.errors import InputError
from dtfl_private.plugins.registry import create
from dtfl_private.protection.client_context import ClientRound, LocalStep


def at() -> ClientRound:
    return ClientRound(seed=0, client=0, round=1, tier=1, records=9, classes=2)


def test_dropout_leaves_out_or_scales_up():
    smashed = torch.full((4, 8, 5, 5), 3.0)
    dropped = Dropout(p=0.4).encode(smashed, at())
    assert set(dropped.unique().tolist()) == {0.0, 5.0}
    assert torch.equal(Dropout(p=0).encode(smashed, at()), smashed)


def test_dropout_lets_no_gradient_through_what_it_left_out():
    smashed = torch.ones(4, 30, requires_grad=True)
    dropped = Dropout(p=0.5).encode(smashed, at())
    (gradient,) = torch.autograd.grad(dropped.sum(), smashed)
    assert torch.equal(gradient, dropped.detach())


def test_dropout_of_everything_is_refused():
    with pytest.raises(InputError, match="p=1 is refused"):
        create("defense", "dropout:1")


def test_the_price_is_the_divergence_from_a_standard_normal():
    mean = torch.randn(200, 1000, generator=torch.Generator().manual_seed(0))
    sigma = 0.5
    exact = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, sigma), torch.distributions.Normal(0.0, 1.0)
    ).mean()
    sampled = InformationBottleneck(sigma=sigma).encode(mean, at())
    # 200,000 squares of noisy values: the estimate's standard deviation is below 0.005.
    assert abs(float(kl_to_standard_normal(sampled, sigma)) - float(exact)) < 0.02


def test_activations_that_are_standard_normal_already_cost_nothing():
    sigma = 1.0
    sampled = torch.tensor([1.0, -1.0])
    assert float(kl_to_standard_normal(sampled, sigma)) == 0
    assert float(kl_to_standard_normal(torch.zeros(3), math.e)) == pytest.approx(-1.5)


def test_the_price_enters_the_loss_by_its_weight():
    smashed = torch.full((3, 4), 2.0, requires_grad=True)
    step = LocalStep(inputs=smashed, smashed=smashed, logits=smashed, labels=torch.zeros(3).long())
    loss = InformationBottleneck(beta=0.1, sigma=1.0).local_loss(torch.tensor(1.0), step, at())
    assert float(loss.detach()) == pytest.approx(1 + 0.1 * 1.5)
    (gradient,) = torch.autograd.grad(loss, smashed)
    assert torch.allclose(gradient, 0.1 * smashed.detach() / 12)
