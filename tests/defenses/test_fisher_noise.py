"""Noise calibrated to Fisher information. The oracle is the linear encoder: J is its matrix."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from dtfl_private.defenses.fisher_noise import FisherNoise, noise_scales, safety_factor, sensitivities
from dtfl_private.errors import InputError
from dtfl_private.plugins.registry import create
from dtfl_private.privacy.compatibility import check_defenses
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.cost import Cut, RoundRelease
from dtfl_private.protocol.guarantees import ReconstructionBound


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(outputs: int, inputs: int) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    matrix = torch.randn(outputs, inputs, generator=chance(5))
    return matrix, lambda values: values.flatten(1) @ matrix.T


def at(encoder: Callable[[Tensor], Tensor], inputs: Tensor) -> ClientRound:
    return ClientRound(seed=0, client=0, round=1, tier=1, records=9, classes=2).during(encoder, inputs)


def test_a_linear_encoders_sensitivity_is_the_squared_norm_of_its_matrix():
    matrix, encoder = linear(12, 20)
    inputs = torch.randn(3, 1, 4, 5, generator=chance())
    estimates = sensitivities(encoder, inputs, 4000, chance(1))
    assert estimates.shape == (3,)
    # The estimator's relative deviation is sqrt(2 / 4000) = 2.2 % at rank one, and less here.
    assert torch.allclose(estimates, matrix.square().sum().expand(3), rtol=0.05)


def test_a_network_with_group_norm_has_the_sensitivity_of_each_records_own_jacobian():
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU())
    for number, weight in enumerate(network.parameters()):
        weight.data.normal_(generator=chance(number))
    inputs = torch.randn(2, 1, 5, 5, generator=chance())
    estimates = sensitivities(network, inputs, 4000, chance(1))
    for record, estimate in zip(inputs, estimates, strict=True):
        jacobian = torch.autograd.functional.jacobian(network, record.unsqueeze(0))
        assert float(estimate) == pytest.approx(float(jacobian.square().sum()), rel=0.1)
    assert all(weight.grad is None for weight in network.parameters())


def test_the_noise_meets_the_bound_and_is_less_than_twice_what_it_needs():
    sensitivity = torch.tensor([0.0, 1e-8, 0.3, 7.0, 1e9])
    scales = noise_scales(sensitivity, input_values=20, mse=0.5)
    assert scales[0] == 0
    bounds = 20 * scales[1:].square() / sensitivity[1:]  # 1 / dFIL
    assert (bounds >= 0.5 * (1 - 1e-6)).all()
    assert (bounds < 4 * 0.5).all()
    assert torch.equal(scales[1:].log2(), scales[1:].log2().round())


def test_a_least_squares_attacker_on_a_linear_encoder_is_no_better_than_the_bound():
    """The unbiased estimator of least variance: x = pinv(A) z has the error s^2 tr((A^T A)^-1) / d >= 1 / dFIL."""
    matrix, encoder = linear(40, 8)
    inputs = torch.randn(2000, 8, generator=chance())
    defense = FisherNoise(mse=0.25, probes=8)
    sent = defense.encode(encoder(inputs), at(encoder, inputs))
    error = (sent @ torch.linalg.pinv(matrix).T - inputs).square().mean(dim=1)
    # The mean over 2,000 records deviates by about 1 % of its value.
    assert float(error.mean()) > 0.25


def test_the_noise_sent_has_the_scale_that_was_worked_out():
    _, encoder = linear(4000, 30)
    inputs = torch.randn(5, 30, generator=chance())
    now = at(encoder, inputs)
    clear = encoder(inputs)
    noise = FisherNoise(mse=1.0, probes=16).encode(clear, now) - clear
    again = sensitivities(encoder, inputs, 16, at(encoder, inputs).chance)
    expected = noise_scales(safety_factor(16) * again, 30, 1.0)
    # 4,000 values: the deviation of the estimate is 1.1 %.
    assert torch.allclose(noise.std(dim=1), expected, rtol=0.06)


def test_a_lower_bound_takes_less_noise():
    _, encoder = linear(100, 30)
    inputs = torch.randn(5, 30, generator=chance())
    little, much = (
        (FisherNoise(mse=mse).encode(encoder(inputs), at(encoder, inputs)) - encoder(inputs)).std() for mse in (0.1, 10)
    )
    assert float(much / little) == pytest.approx(10, rel=0.7)


@pytest.mark.parametrize(("probes", "factor"), [(8, 2.93), (16, 2.01), (1000, 1.08)])
def test_fewer_probes_need_more_safety(probes, factor):
    assert safety_factor(probes) == pytest.approx(factor, abs=0.01)


def test_gradients_reach_the_weights_through_the_noise():
    weight = torch.randn(6, 4, generator=chance()).requires_grad_()
    inputs = torch.randn(3, 4, generator=chance(1))

    def encoder(values: Tensor) -> Tensor:
        return values @ weight.T

    loss = FisherNoise().encode(encoder(inputs), at(encoder, inputs)).sum()
    (gradient,) = torch.autograd.grad(loss, weight)
    assert torch.allclose(gradient, inputs.sum(dim=0).expand(6, 4))


def test_it_also_works_where_gradients_are_switched_off():
    _, encoder = linear(10, 4)
    inputs = torch.randn(3, 4, generator=chance(1))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        sent = FisherNoise().encode(encoder(inputs), at(encoder, inputs))
    assert not torch.equal(sent, encoder(inputs))
    assert not sent.requires_grad


def test_the_claim_is_the_bound_for_as_many_releases_as_epochs():
    released = RoundRelease(records=9, batch_size=3, steps=6, epochs=2)
    assert FisherNoise(mse=0.3).guarantees(released) == [ReconstructionBound(mse=0.3, releases=2)]


def test_its_work_is_a_pass_forward_and_one_backward_per_probe():
    cut = Cut(tier=1, input_shape=(3, 8, 8), cut_shape=(4, 8, 8), smashed_bytes=1024, forward_macs=100, batch_size=10)
    assert FisherNoise(probes=8).extra_macs(cut) == 900
    with pytest.raises(InputError, match="not tokens"):
        FisherNoise().check(Cut(**{**vars(cut), "input_shape": (16,)}))


@pytest.mark.parametrize("other", ["dropout", "dp-weights"])
def test_what_would_void_the_bound_is_refused(other):
    chain = [create("defense", "fisher-noise"), create("defense", other)]
    with pytest.raises(InputError, match=f"fisher-noise cannot be combined with {other}"):
        check_defenses(chain, "group", "fp32", 1)
    with pytest.raises(InputError, match="batch"):
        check_defenses(chain[:1], "batch", "fp32", 1)
    check_defenses(chain[:1], "group", "fp32", 1)
    assert math.isfinite(FisherNoise().mse)
