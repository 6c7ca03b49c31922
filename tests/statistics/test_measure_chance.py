"""Chance in measures: how often intervals cover, tests reject and lower bounds exceed the truth.

Each test draws from a fixed stream. Its rate of false alarms is that over streams, if the code is right.
"""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from scipy.stats import binom, kstest
from torch import Tensor

from dtfl_private.leakage.dcor import distances
from dtfl_private.leakage.measures.base import Release
from dtfl_private.leakage.measures.dependence import Dependence, dependence
from dtfl_private.leakage.measures.empirical_epsilon import EmpiricalEpsilon
from dtfl_private.leakage.measures.linear_cka import inner_products
from dtfl_private.privacy.gaussian_epsilon import gaussian_epsilon
from dtfl_private.privacy.one_run import epsilon_lower_bound
from dtfl_private.randomness import stream, torch_stream

FALSE_ALARM = 1e-6
DELTA = 1e-5
PERMUTATIONS = 39


def hollow_distances(sample: Tensor) -> Tensor:
    return distances(sample).fill_diagonal_(0)


def repeated(
    draw: Callable[[torch.Generator], tuple[Tensor, Tensor]], matrix_of: Callable[[Tensor], Tensor]
) -> list[Dependence]:
    generator = torch_stream(0, "dependence")
    found = []
    for _ in range(200):
        first, second = (matrix_of(sample.double()) for sample in draw(generator))
        found.append(dependence(first, second, PERMUTATIONS, generator))
    return found


def independent(dimensions: tuple[int, int]) -> Callable[[torch.Generator], tuple[Tensor, Tensor]]:
    def draw(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        first, second = (torch.randn(60, width, generator=generator) for width in dimensions)
        return first.exp() if dimensions[0] == 1 else first, second

    return draw


@cache
def of_independent(dimensions: tuple[int, int], matrix_of: Callable[[Tensor], Tensor]) -> list[Dependence]:
    return repeated(independent(dimensions), matrix_of)


@pytest.mark.parametrize("matrix_of", [hollow_distances, inner_products])
@pytest.mark.parametrize("dimensions", [(1, 1), (300, 400)])
def test_intervals_of_independent_data_cover_zero(dimensions, matrix_of):
    """In 95 % of 200 cases or more, up to chance: 174 at least; false alarm 1e-6. One sample is skewed where narrow."""
    found = of_independent(dimensions, matrix_of)
    covered = sum(one.interval.low <= 0 <= one.interval.high for one in found)
    assert covered >= binom.ppf(FALSE_ALARM, 200, 0.95)
    # Intervals of a third of the width would not.
    ends = [(one.interval.value, (one.interval.low - one.interval.value) / 3, one.interval.high) for one in found]
    narrow = sum(value + below <= 0 <= value + (high - value) / 3 for value, below, high in ends)
    assert narrow < binom.ppf(FALSE_ALARM, 200, 0.95)


@pytest.mark.parametrize("dimensions", [(1, 1), (300, 400)])
def test_p_values_of_independent_data_are_uniform(dimensions):
    """Kolmogorov and Smirnov's test against multiples of 1/40; conservative for these, false alarm 1e-6 or less."""
    values = [one.p_value for one in of_independent(dimensions, hollow_distances)]
    noise = stream(0, "within a step").uniform(size=len(values)) / (1 + PERMUTATIONS)
    assert kstest(np.array(values) - noise, "uniform").pvalue > FALSE_ALARM
    assert kstest((np.array(values) - noise) ** 2, "uniform").pvalue < FALSE_ALARM


def dcor_squared_of_normals(correlation: float) -> float:
    """Return the squared distance correlation of two normal variables (Szekely et al. 2007, theorem 7)."""
    r = correlation
    top = r * math.asin(r) + math.sqrt(1 - r**2) - r * math.asin(r / 2) - math.sqrt(4 - r**2) + 1
    return top / (1 + math.pi / 3 - math.sqrt(3))


@pytest.mark.parametrize(
    ("matrix_of", "truth"), [(hollow_distances, dcor_squared_of_normals), (inner_products, lambda r: r**2)]
)
def test_intervals_of_dependent_data_cover_the_truth(matrix_of, truth):
    """In 90 to 99 % of 200 cases, up to chance; false alarm 1e-6 on either side."""

    def draw(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        first, noise = torch.randn(2, 140, 1, generator=generator)
        return first, 0.5 * first + math.sqrt(0.75) * noise

    found = repeated(draw, matrix_of)
    covered = sum(one.interval.low <= truth(0.5) <= one.interval.high for one in found)
    assert binom.ppf(FALSE_ALARM, 200, 0.90) <= covered <= binom.ppf(1 - FALSE_ALARM, 200, 0.99)
    assert max(one.p_value for one in found) < 0.05


def exceeded(bounds: list[float], truth: float) -> int:
    return sum(bound > truth for bound in bounds)


def too_often(count: int, times: int) -> bool:
    """Whether a 95 % bound was above the truth more often than chance explains; false alarm 1e-6."""
    return count > binom.ppf(1 - FALSE_ALARM, times, 0.05)


@pytest.mark.parametrize("epsilon", [0.5, 2.0, 4.0])
def test_the_bound_exceeds_the_epsilon_of_randomised_response_in_5_percent(epsilon):
    """Where each guess is right with the probability that epsilon allows, the bound is as tight as it can be."""
    right = stream(0, "randomised response").binomial(200, 1 / (1 + math.exp(-epsilon)), size=1000)
    bounds = {count: epsilon_lower_bound(200, 200, count, 0.0) for count in set(right.tolist())}
    count = exceeded([bounds[one] for one in right.tolist()], epsilon)
    assert not too_often(count, 1000)
    assert count > 1000 * 0.005
    # Bounds of 80 % confidence, taken for 95 %, would be noticed.
    planted = {count: epsilon_lower_bound(200, 200, count, 0.0, confidence=0.8) for count in bounds}
    assert too_often(exceeded([planted[one] for one in right.tolist()], epsilon), 1000)


def gaussian_release(distance: float, repetition: int) -> Release:
    """Return the release of two kinds of records, ``distance`` apart in each of 20 directions, with unit noise."""
    kinds = torch.zeros(20, 1, 1, 1)
    kinds[::2] = 1.0

    def encoder(batch: Tensor) -> Tensor:
        return distance * batch.flatten(1)

    def release(batch: Tensor, _labels: Tensor, draw: int) -> Tensor:
        clear = encoder(batch)
        return clear + torch.randn(clear.shape, generator=torch_stream(repetition, "draw", draw))

    return Release(
        images=kinds,
        labels=torch.zeros(20, dtype=torch.int64),
        smashed=encoder(kinds),
        batch_size=20,
        encoder=encoder,
        release=release,
        seed=repetition,
        delta=DELTA,
        releases=4,
    )


def test_the_empirical_epsilon_does_not_exceed_that_of_a_gaussian_mechanism():
    """In more than 5 % of 200 runs, up to chance; false alarm 1e-6. The truth is exact: Gaussian trade-offs.

    Of one release and of four, which together are a release with half the noise.
    """
    mu = 0.2
    truths = [gaussian_epsilon(mu, DELTA), gaussian_epsilon(2 * mu, DELTA)]
    measure = EmpiricalEpsilon(canaries=100)

    def runs(distance: float, times: int) -> list[list[float]]:
        found = [measure.figures(gaussian_release(distance, number)) for number in range(times)]
        return [[figures[which].value for figures in found] for which in range(2)]

    for bounds, truth in zip(runs(mu, 200), truths, strict=True):
        assert not too_often(exceeded(bounds, truth), 200)
    # It would exceed them nearly always, if the noise were a twentieth of what is stated.
    for bounds, truth in zip(runs(20 * mu, 20), truths, strict=True):
        assert too_often(exceeded(bounds, truth), 20)


def test_a_mechanism_without_privacy_reaches_the_ceiling():
    bound, often, ceiling = EmpiricalEpsilon(canaries=1000).figures(gaussian_release(1e6, 0))
    assert bound.value == often.value == ceiling.value == pytest.approx(5.8, abs=0.05)
