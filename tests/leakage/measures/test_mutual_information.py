"""The ceiling against closed forms of Gaussian activations."""

import math

import pytest
import torch

from dtfl_private.errors import InputError
from dtfl_private.leakage.measures.mutual_information import MutualInformation
from dtfl_private.protection.cost import KnownNoise

SPREADS = torch.tensor([3.0, 2.0, 1.0, 0.5])


def figures_of(release):
    return {figure.metric: figure for figure in MutualInformation().figures(release)}


def gaussian_images(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 1, 2, 2, generator=torch.Generator().manual_seed(seed))


def spread_out(batch):
    return batch.flatten(1) * SPREADS


def bits(variances, std):
    return sum(math.log2(1 + float(variance) / std**2) for variance in variances) / 2


def test_of_independent_gaussian_values_it_is_the_closed_form(make_release):
    """20,000 records: sampled log-variances have deviations of 0.01; the sum of four is within 6 of them."""
    found = figures_of(make_release(gaussian_images(20_000), spread_out, std=0.7, batch_size=1000, releases=5))
    expected = bits(SPREADS.square(), 0.7)
    for metric in ("mi-ceiling-bits", "mi-gaussian-bits"):
        assert found[metric].value == pytest.approx(expected, abs=6 * 2 * 0.01)
    assert found["mi-ceiling-bits-cumulated"].value == pytest.approx(5 * found["mi-ceiling-bits"].value)


def test_of_dependent_values_only_the_eigenvalues_tell(make_release):
    """Both values are the same: 1/2 log2(1 + 2/s^2), where the sum over values gives log2(1 + 1/s^2)."""
    images = gaussian_images(5000)
    found = figures_of(make_release(images, lambda x: x[:, 0, 0, :1].expand(-1, 2), std=0.5, batch_size=500))
    assert found["mi-gaussian-bits"].value == pytest.approx(math.log2(1 + 2 / 0.25) / 2, abs=0.1)
    assert found["mi-ceiling-bits"].value == pytest.approx(math.log2(1 + 1 / 0.25), abs=0.1)


def test_few_records_give_no_figure_by_eigenvalues_and_do_not_lower_the_ceiling(make_release):
    """20 records: plain sampled variances would be 0.07 bits too low a value, of 2,500 values 180 bits."""
    images = torch.randn(20, 1, 50, 50, generator=torch.Generator().manual_seed(0))
    found = figures_of(make_release(images, lambda x: x.flatten(1), std=0.1))
    assert found.keys() == {"mi-ceiling-bits"}
    assert found["mi-ceiling-bits"].value == pytest.approx(bits([1] * 2500, 0.1), abs=60)


def test_leaving_records_out_is_what_it_is_when_done_one_by_one(make_release):
    """The jackknife of slow, separate computations gives the same intervals."""
    images = gaussian_images(40)
    found = figures_of(make_release(images, spread_out, std=0.7))
    rows = spread_out(images).double()

    def plain(sample):
        return sum(math.log2(1 + float(variance) / 0.49) for variance in sample.var(dim=0)) / 2

    def by_eigenvalues(sample):
        return sum(math.log2(1 + float(one) / 0.49) for one in torch.linalg.eigvalsh(torch.cov(sample.T))) / 2

    for metric, statistic in {"mi-ceiling-bits": plain, "mi-gaussian-bits": by_eigenvalues}.items():
        without = torch.tensor([statistic(torch.cat([rows[:one], rows[one + 1 :]])) for one in range(40)])
        assert found[metric].value == pytest.approx(40 * statistic(rows) - 39 * float(without.mean()), abs=1e-3)
        deviation = float(without.double().var(correction=0) * 39) ** 0.5
        assert found[metric].high - found[metric].value == pytest.approx(1.96 * deviation, rel=1e-3)


def test_what_is_contracted_before_the_noise_counts_with_the_mean_variance(make_release):
    images = gaussian_images(5000)
    noise = KnownNoise(std=0.7, contracted=True)
    found = figures_of(make_release(images, spread_out, std=0.7, batch_size=500, noise=noise))
    assert found.keys() == {"mi-ceiling-bits"}
    pooled = bits([float(SPREADS.square().mean())] * 4, 0.7)
    assert found["mi-ceiling-bits"].value == pytest.approx(pooled, abs=0.1)
    # A rotation moves nothing further apart, and spreads the variance over all values: the ceiling must not be lower.
    assert pooled > bits(SPREADS.square(), 0.7) + 0.5


def test_without_noise_the_figure_is_the_noise_that_would_set_the_ceiling(make_release):
    images = torch.randn(100, 1, 10, 10, generator=torch.Generator().manual_seed(0))
    release = make_release(images, lambda x: x.flatten(1), releases=4)
    found = figures_of(release)
    for metric, wanted in {"noise-for-mi-64-bits": 64, "noise-for-mi-64-bits-cumulated": 16}.items():
        defended = figures_of(make_release(images, lambda x: x.flatten(1), std=found[metric].value))
        assert defended["mi-ceiling-bits"].value == pytest.approx(wanted, rel=0.01)
        # 1/2 x 100 values x log2(1 + 1/s^2), of variances near 1.
        assert found[metric].value == pytest.approx((2 ** (2 * wanted / 100) - 1) ** -0.5, rel=0.05)
    assert MutualInformation().remarks(release) == ("no ceiling on the information: there is none",)


def test_constant_activations_need_no_noise(make_release, images_of):
    found = figures_of(make_release(images_of(20), lambda x: torch.ones(len(x), 4)))
    assert found["noise-for-mi-64-bits"].value == 0


def test_too_few_records_are_refused(make_release, images_of, linear):
    with pytest.raises(InputError, match="mutual-information needs 500 records"):
        figures_of(make_release(images_of(10), linear(2)[1]))


def test_it_says_how_many_values_hardly_any_record_makes_vary(make_release):
    """Four values: one that always varies, one that 9 records raise, one that 30 do, one that none does."""

    def encoder(batch):
        first = batch[:, 0, 0, 0]
        return torch.stack([first, (first < 9).float(), (first < 30).float(), 0 * first], dim=1)

    images = torch.arange(200.0).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    said = MutualInformation().remarks(make_release(images, encoder, std=1.0))
    assert len(said) == 1
    assert said[0].startswith("2 of 4 values of the smashed data vary in under 10 of 200 records, or in none")
    assert "intervals do not cover" in said[0]
    assert MutualInformation().remarks(make_release(gaussian_images(200), spread_out, std=1.0)) == ()
