"""Distance correlation against the statistic that has been compared with dcor's; linear CKA against plain formulas."""

import numpy as np
import pytest
import torch
from torch import Tensor

from dtfl_private.errors import InputError
from dtfl_private.leakage.dcor import bias_corrected_squared, distances
from dtfl_private.leakage.measures.dependence import correlation, dependence, permuted, without_each
from dtfl_private.leakage.measures.distance_correlation import DistanceCorrelation
from dtfl_private.leakage.measures.linear_cka import LinearCka, inner_products


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pairs(count: int = 60) -> tuple[Tensor, Tensor]:
    first = torch.randn(count, 5, generator=chance(), dtype=torch.float64)
    return first, first[:, :2].square() + torch.randn(count, 2, generator=chance(1), dtype=torch.float64)


def value_of(figures, metric):
    (found,) = [figure for figure in figures if figure.metric == metric]
    return found


def test_distance_correlation_is_the_bias_corrected_statistic(make_release, images_of, linear):
    images = images_of(120)
    release = make_release(images, linear(6)[1], std=2.0)
    found = value_of(DistanceCorrelation(permutations=19).figures(release), "dcor-squared")
    expected = bias_corrected_squared(images.double(), release.smashed.double())
    assert found.value == pytest.approx(expected, abs=1e-9)
    assert found.n == 120


@pytest.mark.parametrize("measure", [DistanceCorrelation(permutations=99), LinearCka(permutations=99)])
def test_the_interval_ends_at_1(measure, make_release, images_of):
    """A little noise: the statistic is 0.97 to 0.99, and the interval would reach beyond 1."""
    figure = measure.figures(make_release(images_of(100), lambda batch: batch.flatten(1), std=0.04))[0]
    assert figure.low < figure.value < figure.high <= 1
    same = measure.figures(make_release(images_of(100), lambda batch: 2 * batch.flatten(1)))[0]
    assert same.value == pytest.approx(1)
    assert same.high <= 1


def test_at_most_a_thousand_records_are_taken(make_release, images_of, linear):
    release = make_release(images_of(1100, side=1), linear(1, side=1)[1])
    assert value_of(DistanceCorrelation(permutations=1).figures(release), "dcor-squared").n == 1000


@pytest.mark.parametrize("measure", [DistanceCorrelation(), LinearCka()])
def test_too_few_records_are_refused(measure, make_release, images_of, linear):
    with pytest.raises(InputError, match=r"needs 500 records or more, and 100 at least, not 90"):
        measure.figures(make_release(images_of(90), linear(2)[1]))


@pytest.mark.parametrize("matrix_of", [lambda sample: distances(sample).fill_diagonal_(0), inner_products])
def test_leaving_records_out_is_what_it_is_when_done_one_by_one(matrix_of):
    first, second = (matrix_of(sample) for sample in pairs(12))
    slow = []
    for left_out in range(12):
        kept = [record for record in range(12) if record != left_out]
        slow.append(correlation(first[kept][:, kept], second[kept][:, kept]))
    np.testing.assert_allclose(without_each(first, second), slow, atol=1e-12)


def test_permuting_matrices_is_permuting_records():
    first, second = (distances(sample).fill_diagonal_(0) for sample in pairs(20))
    found = permuted(first, second, 3, chance(4))
    source = chance(4)
    for value in found:
        order = torch.randperm(20, generator=source)
        assert value == pytest.approx(correlation(first, second[order][:, order]), abs=1e-12)


def test_the_p_value_counts_permutations_that_reach_the_value_and_the_observed_order():
    first, second = (distances(sample).fill_diagonal_(0) for sample in pairs())
    found = dependence(first, second, 99, chance())
    reached = sum(permuted(first, second, 99, chance()) >= correlation(first, second))
    assert found.p_value == (1 + reached) / 100
    assert dependence(first, first, 99, chance()).p_value == 1 / 100


def test_a_constant_sample_depends_on_nothing():
    first = distances(pairs()[0]).fill_diagonal_(0)
    found = dependence(first, torch.zeros_like(first), 19, chance())
    assert found.interval.value == 0
    assert found.p_value == 1


def debiased_hsic(first: Tensor, second: Tensor) -> float:
    """Return the unbiased HSIC of Song et al. 2012, equation 5, word by word."""
    count, ones = len(first), torch.ones(len(first), dtype=torch.float64)
    k, l = ((sample @ sample.T).fill_diagonal_(0) for sample in (first, second))  # noqa: E741 - the paper's letters
    middle = (ones @ k @ ones) * (ones @ l @ ones) / ((count - 1) * (count - 2))
    whole = torch.trace(k @ l) + middle - 2 / (count - 2) * (ones @ k @ l @ ones)
    return float(whole / (count * (count - 3)))


def test_linear_cka_is_the_papers_formula_with_the_unbiased_hsic():
    first, second = pairs()
    expected = debiased_hsic(first, second) / (debiased_hsic(first, first) * debiased_hsic(second, second)) ** 0.5
    assert correlation(inner_products(first), inner_products(second)) == pytest.approx(expected, abs=1e-12)


def test_linear_cka_of_many_records_is_near_that_of_kornblith():
    """|Y^T X|^2 / (|X^T X| |Y^T Y|) of centred columns; 3,000 records, biased by about 1/3000."""
    first = torch.randn(3000, 3, generator=chance(), dtype=torch.float64)
    second = first @ torch.randn(3, 4, generator=chance(1), dtype=torch.float64) + 1
    x, y = (sample - sample.mean(dim=0) for sample in (first, second))
    plain = (y.T @ x).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm())
    assert correlation(inner_products(first), inner_products(second)) == pytest.approx(float(plain), abs=2e-3)


def test_linear_cka_knows_no_rotation_scale_or_shift_and_is_one_of_itself(make_release, images_of, linear):
    images = images_of(120)
    rotation = torch.linalg.qr(linear(9)[0]).Q
    (turned,) = LinearCka().figures(make_release(images, lambda batch: 3 * batch.flatten(1) @ rotation - 1))
    assert turned.value == pytest.approx(1, abs=1e-5)
    (plain,), (stretched,) = (
        LinearCka().figures(make_release(images, lambda batch, by=by: batch.flatten(1)[:, :4] * by))
        for by in (torch.ones(4), torch.tensor([9.0, 1, 1, 1]))
    )
    assert abs(plain.value - stretched.value) > 0.1


def test_linear_cka_of_independent_data_with_more_values_than_records_is_near_zero(make_release, images_of):
    images = images_of(100, side=20)
    release = make_release(images, lambda batch: 0 * batch.flatten(1), std=1.0)
    (found,) = LinearCka().figures(release)
    assert abs(found.value) < 0.1
    x, y = (sample.flatten(1).double() - sample.flatten(1).double().mean(dim=0) for sample in (images, release.smashed))
    plain = (y @ y.T * (x @ x.T)).sum() / ((x @ x.T).norm() * (y @ y.T).norm())
    assert plain > 0.5
