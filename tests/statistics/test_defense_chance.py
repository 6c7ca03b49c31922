"""Noise and rates of the defenses. The draws are seeded: a test fails always or never.

The bounds are five standard deviations wide, so that a right implementation with another stream would fail with
probability 6e-7 per bound. Each check is shown to reject a scale or a rate that is wrong by a tenth.
"""

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from dtfl_private.defenses.dropout import Dropout
from dtfl_private.defenses.fisher_noise import safety_factor, sensitivities
from dtfl_private.defenses.gaussian_noise import GaussianNoise
from dtfl_private.defenses.information_bottleneck import InformationBottleneck
from dtfl_private.defenses.laplace_noise import LaplaceNoise
from dtfl_private.defenses.shared.pieces import random_orders
from dtfl_private.defenses.update_noise import UpdateNoise
from dtfl_private.protection.base import Defense
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protocol.messages import ModelDownload, SmashedBatch, WeightUpdate

SIGMAS = 5
VALUES = 100_000
# A test at this level fails by chance as often as one of five standard deviations.
LEVEL = 6e-7


def at() -> ClientRound:
    download = ModelDownload(client=0, round=1, tier=1, weights={"w": torch.zeros(VALUES)}, head={})
    return ClientRound(seed=11, client=0, round=1, tier=1, records=9, classes=2, download=download)


def noise_of(defense: Defense) -> Tensor:
    """Return what a defense adds to activations or weights that are all 2."""
    clear = torch.full((VALUES,), 2.0)
    if "weights" in defense.facts.acts_on:
        update = WeightUpdate(client=0, round=1, tier=1, examples=9, weights={"w": clear}, head={})
        return (defense.protect_update(update, at()).weights["w"] - clear).double()
    if "activations" in defense.facts.acts_on:
        return (defense.encode(clear, at()) - clear).double()
    smashed = clear.reshape(10, -1)
    batch = SmashedBatch(client=0, round=1, tier=1, batch=0, smashed=smashed, labels=torch.zeros(10).long())
    return (defense.protect_batch(batch, at()).smashed - smashed).flatten().double()


def plausible_scale(noise: Tensor, sd: float, kurtosis: float) -> bool:
    """The variance's estimate deviates by sqrt((kurtosis - 1) / n) of its value, the mean's by sd / sqrt(n)."""
    count = len(noise)
    variance_fits = abs(float(noise.square().mean()) / sd**2 - 1) <= SIGMAS * math.sqrt((kurtosis - 1) / count)
    return variance_fits and abs(float(noise.mean())) <= SIGMAS * sd / math.sqrt(count)


NOISES = [
    (GaussianNoise(sd=0.3), 0.3, 3, "norm"),
    (LaplaceNoise(sd=0.3), 0.3, 6, "laplace"),
    (InformationBottleneck(sigma=0.7), 0.7, 3, "norm"),
    (UpdateNoise(sd=0.02), 0.02, 3, "norm"),
]


@pytest.mark.parametrize(("defense", "sd", "kurtosis", "family"), NOISES)
def test_noise_has_the_scale_and_the_distribution_that_it_is_said_to_have(defense, sd, kurtosis, family):
    noise = noise_of(defense)
    assert plausible_scale(noise, sd, kurtosis)
    assert not plausible_scale(1.1 * noise, sd, kurtosis)
    assert not plausible_scale(0.9 * noise, sd, kurtosis)
    assert not plausible_scale(noise + 0.1 * sd, sd, kurtosis)
    standard = {"norm": stats.norm(), "laplace": stats.laplace(scale=1 / math.sqrt(2))}[family]
    assert stats.kstest(noise.numpy() / sd, standard.cdf).pvalue > LEVEL
    assert stats.kstest(1.1 * noise.numpy() / sd, standard.cdf).pvalue < LEVEL
    neighbours = torch.corrcoef(torch.stack([noise[:-1], noise[1:]]))[0, 1]
    assert abs(float(neighbours)) <= SIGMAS / math.sqrt(VALUES)


def test_dropout_leaves_out_its_rate():
    left_out = int((Dropout(p=0.3).encode(torch.ones(VALUES), at()) == 0).sum())

    def plausible(rate: float) -> bool:
        return abs(left_out - VALUES * rate) <= SIGMAS * math.sqrt(VALUES * rate * (1 - rate))

    assert plausible(0.3)
    assert not plausible(0.27)
    assert not plausible(0.33)


def test_every_order_of_four_pieces_is_as_likely_as_any_other():
    orders = random_orders(24_000, 4, torch.Generator().manual_seed(0))
    _, counts = orders.unique(dim=0, return_counts=True)
    assert len(counts) == 24
    assert stats.chisquare(counts.numpy()).pvalue > LEVEL
    counts[:12] = (1.1 * counts[:12]).long()
    counts[12:] = (0.9 * counts[12:]).long()
    assert stats.chisquare(counts.numpy()).pvalue < LEVEL


@pytest.mark.parametrize("eigenvalues", [[1.0], [1.0, 1.0], [1.0, 0.1, 0.1], [1.0] * 10])
@pytest.mark.parametrize(("probes", "wrong"), [(1, 0.5), (8, 0.9)])
def test_a_sensitivity_with_its_safety_factor_is_seldom_too_low(eigenvalues, probes, wrong):
    """Rank one is the worst case: there the rate is 5 %, and no more than that for any other Jacobian."""
    matrix = torch.tensor(eigenvalues).sqrt().diag()
    records = 20_000
    estimates = sensitivities(
        lambda inputs: inputs @ matrix, torch.zeros(records, len(matrix)), probes, torch.Generator().manual_seed(0)
    )

    def too_low(factor: float) -> int:
        return int((factor * estimates < sum(eigenvalues)).sum())

    allowed = SIGMAS * math.sqrt(records * 0.05 * 0.95)
    assert too_low(safety_factor(probes)) <= 0.05 * records + allowed
    if len(eigenvalues) == 1:
        assert too_low(safety_factor(probes)) >= 0.05 * records - allowed
        assert too_low(wrong * safety_factor(probes)) > 0.05 * records + allowed
