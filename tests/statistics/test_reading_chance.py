"""Likelihoods of releases against the defenses' samplers. The draws are seeded: a test fails always or never.

For releases z of activations a, the mean of p(z | b) / p(z | a) is 1 for every b that has the same noise: only the
right likelihood has that for all b. The bounds are five standard errors wide, so that a right one would fail with
probability 6e-7 with another stream. Each is shown to reject a deviation that is wrong by a tenth.

Without noise there is no density, but what a release leaves open can be counted: of a few hundred possible activations,
all equally likely, those from which it was made are as often each as the likelihood says. That is so for no other one.

Of fisher-noise a release does not say the deviation, and the likelihood is that of the likeliest one, n/2 log of a sum
of squares. That is no density, and its mean ratio is infinite; but the mean of its logarithm is known: the sums are s^2
times chi-squared, central for the true activations, and not for others.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import digamma
from scipy.stats import chi2, kstest, poisson, uniform
from torch import Tensor

from dtfl_private.defenses.dp_activations import DpActivations
from dtfl_private.defenses.dropout import Dropout
from dtfl_private.defenses.fisher_noise import FisherNoise
from dtfl_private.defenses.gaussian_noise import GaussianNoise
from dtfl_private.defenses.information_bottleneck import InformationBottleneck
from dtfl_private.defenses.laplace_noise import LaplaceNoise
from dtfl_private.defenses.learned_noise import LearnedNoise
from dtfl_private.defenses.quantize import Quantize
from dtfl_private.defenses.top_k import TopK
from dtfl_private.plugins.installed import installed
from dtfl_private.plugins.registry import create
from dtfl_private.protection.base import Defense
from dtfl_private.protection.client_context import ClientRound, ForwardPass
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protection.release_reading import Reading, log_likelihood
from dtfl_private.protocol.messages import SmashedBatch

RECORDS = 20_000
WITHOUT_DENSITY = {"dropout": Dropout(p=0.4), "top-k": TopK(share=0.5)}
ROUNDED = {"quantize"}
OF_THE_LIKELIEST_DEVIATION = {"fisher-noise"}
# The noise of images has no known law behind a network; means are read for whole groups, not record by record.
READ_OTHERWISE = {"pixel-dp", "micro-aggregation"}
SHAPE = (2, 2, 2)
DEFENSES = {
    "gaussian-noise": GaussianNoise(sd=0.5),
    "laplace-noise": LaplaceNoise(sd=0.5),
    "learned-noise": LearnedNoise(sd=0.5),
    "information-bottleneck": InformationBottleneck(sigma=0.5),
    "dp-activations": DpActivations(noise_multiplier=0.5, clip=1.0),
    "dropout under noise": DefenseChain([Dropout(p=0.5), GaussianNoise(sd=0.5)]),
    "two noises": DefenseChain([InformationBottleneck(sigma=0.3), GaussianNoise(sd=0.4)]),
    "noise under top-k": DefenseChain([GaussianNoise(sd=0.5), TopK(share=0.5)]),
    "dropout under noise under top-k": DefenseChain([Dropout(p=0.5), GaussianNoise(sd=0.5), TopK(share=0.5)]),
}


def released(defense: Defense, activations: Tensor) -> Tensor:
    """Return what a defense's own sampler sends of activations (N, *cut shape), each a record's."""
    at = ClientRound(seed=2, client=0, round=1, tier=1, records=len(activations), classes=2)
    sent = SmashedBatch(
        client=0,
        round=1,
        tier=1,
        batch=0,
        smashed=defense.encode(activations, at),
        labels=torch.zeros(len(activations)).long(),
    )
    return defense.protect_batch(sent, at).smashed


def deviations_from_one(defense: Defense, factor: float = 1.0) -> float:
    """Return how many standard errors the mean ratio is from 1, for a deviation wrong by a factor."""
    chance = torch.Generator().manual_seed(4)
    truth, step = torch.randn(2, *SHAPE, generator=chance)
    other = truth + 0.2 * step
    reading = defense.read(Reading.of(released(defense, truth.expand(RECORDS, *SHAPE))))
    reading = replace(reading, deviation=torch.as_tensor(reading.deviation) * factor)
    ratios = (
        log_likelihood(reading, other.expand(RECORDS, *SHAPE)) - log_likelihood(reading, truth.expand(RECORDS, *SHAPE))
    ).exp()
    return float((ratios.mean() - 1) / (ratios.std() / RECORDS**0.5))


def test_no_registered_defense_that_says_what_it_shows_is_forgotten():
    reading = {name for name in installed("defense") if type(create("defense", name)).read is not Defense.read}
    single = {name for name in DEFENSES if " " not in name}
    assert reading == single | OF_THE_LIKELIEST_DEVIATION | set(WITHOUT_DENSITY) | ROUNDED | READ_OTHERWISE


@pytest.mark.parametrize("name", DEFENSES)
def test_the_mean_likelihood_ratio_is_one(name):
    assert abs(deviations_from_one(DEFENSES[name])) < 5


@pytest.mark.parametrize("name", DEFENSES)
def test_that_of_a_wrong_deviation_is_not(name):
    assert abs(deviations_from_one(DEFENSES[name], 0.9)) > 5


# The values that each of four activations may have: 256 possible records, with no two equal magnitudes.
POSSIBLE = torch.cartesian_prod(*(torch.tensor([0.8, -0.9, 1.0, -1.2]) + 0.03 * place for place in range(4)))


def surprise(defense: Defense, misread: Callable[[Reading], Reading] = lambda reading: reading) -> float:
    """Return how likely so uneven counts are, if the likelihood of a reading is right: the p-value of chi-squared.

    Counted is from which of the possible activations each different release was made.
    """
    count = 8 * RECORDS
    made_from = torch.randint(len(POSSIBLE), (count,), generator=torch.Generator().manual_seed(5))
    sent = released(defense, POSSIBLE[made_from].reshape(-1, 1, 2, 2))
    received, which = torch.unique(sent, dim=0, return_inverse=True)
    each = received.repeat_interleave(len(POSSIBLE), dim=0)
    reading = misread(defense.read(Reading.of(each)))
    likelihoods = log_likelihood(reading, POSSIBLE.repeat(len(received), 1).reshape(-1, 1, 2, 2))
    shares = likelihoods.reshape(len(received), -1).softmax(dim=1)
    counted = torch.zeros_like(shares).index_put_((which, made_from), torch.ones(count).double(), accumulate=True)
    expected = shares * counted.sum(dim=1, keepdim=True)
    likely = expected > 5
    if counted[~likely].sum() > 0.01 * count:
        return 0.0  # what should hardly ever occur has occurred
    statistic = float(((counted - expected).square() / expected)[likely].sum())
    return float(chi2.sf(statistic, int(likely.sum() - likely.any(dim=1).sum())))


@pytest.mark.parametrize("name", WITHOUT_DENSITY)
def test_without_noise_a_release_is_made_from_what_may_be_as_often_as_the_likelihood_says(name):
    assert surprise(WITHOUT_DENSITY[name]) > 6e-7


@pytest.mark.parametrize(
    ("name", "misread"),
    [
        ("dropout", lambda reading: replace(reading, shown=torch.ones_like(reading.shown))),
        ("dropout", lambda reading: replace(reading, values=reading.values * 0.6)),
        ("top-k", lambda reading: replace(reading, shown=torch.ones_like(reading.shown))),
        ("top-k", lambda reading: replace(reading, bound=None)),
        ("top-k", lambda reading: replace(reading, bound=reading.bound * 0.9)),
    ],
)
def test_a_wrong_reading_is_found_out(name, misread):
    assert surprise(WITHOUT_DENSITY[name], misread) < 6e-7


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_what_rounding_adds_is_as_uniform_as_the_likelihood_says(bits):
    """But for a record's extremes, which are sent as they are."""
    truth = torch.rand(RECORDS, 1, 4, 4, generator=torch.Generator().manual_seed(6))
    reading = Quantize(bits=bits).read(Reading.of(released(Quantize(bits=bits), truth)))
    assert reading.shape == "uniform"
    relative = ((reading.values - truth) / (reading.deviation * 12**0.5)).flatten(1)  # in steps of the grid
    rows = truth.flatten(1)
    inner = (rows > rows.amin(dim=1, keepdim=True)) & (rows < rows.amax(dim=1, keepdim=True))
    # One of each record: errors of values on the same grid are not independent.
    first = relative[torch.arange(RECORDS), inner.long().argmax(dim=1)]
    assert kstest(first.numpy(), uniform(-0.5, 1).cdf).pvalue > 6e-7
    assert kstest(0.9 * first.numpy(), uniform(-0.5, 1).cdf).pvalue < 6e-7
    within = log_likelihood(reading, truth)
    assert torch.allclose(within, log_likelihood(reading, reading.values))
    assert (within > log_likelihood(reading, truth + 2 * reading.deviation)).all()


def mean_log_ratio(apart: float) -> float:
    """Return the mean of log p(z | a) - log p(z | b), |a - b| = ``apart`` deviations, of the likeliest deviations.

    A sum of squares that is not central is chi-squared with 2 j degrees of freedom more, j Poisson of apart^2 / 2.
    """
    half, places = np.prod(SHAPE) / 2, np.arange(200)
    return float(half * ((poisson.pmf(places, apart**2 / 2) * digamma(half + places)).sum() - digamma(half)))


def deviations_from_the_mean_log_ratio(slope: float, factor: float = 1.0) -> float:
    """Return how many standard errors the mean log ratio under fisher-noise is off, for a deviation wrong by a factor.

    The encoder's slope at each input value is ``slope``, so that tr(J^T J) is slope^2 for each of them. For a bound of
    1 / 2 and 64 probes the deviation is the next power of two above 0.8 slope, which is a power of two itself.
    """
    inputs, step = torch.full(SHAPE, slope), torch.randn(SHAPE, generator=torch.Generator().manual_seed(4))
    truth, apart = inputs.square() / 2, 1.5
    other = truth + apart * slope * step / step.norm()
    forward = ForwardPass(encoder=lambda x: x.square() / 2, inputs=inputs.expand(RECORDS, *SHAPE))
    at = ClientRound(seed=2, client=0, round=1, tier=1, records=RECORDS, classes=2, forward=forward)
    defense = FisherNoise(mse=0.5, probes=64)
    reading = defense.read(Reading.of(defense.encode(truth.expand(RECORDS, *SHAPE), at)))
    likelihoods = [log_likelihood(reading, guess.expand(RECORDS, *SHAPE)) for guess in (truth, other)]
    ratios = likelihoods[0] - likelihoods[1]
    return float((ratios.mean() - mean_log_ratio(apart / factor)) / (ratios.std() / RECORDS**0.5))


@pytest.mark.parametrize("slope", [1.0, 8.0])
def test_where_the_deviation_is_not_known_the_likeliest_one_is_the_sampler_s_own(slope):
    assert abs(deviations_from_the_mean_log_ratio(slope)) < 5
    assert abs(deviations_from_the_mean_log_ratio(slope, 0.9)) > 5
