"""dFIL and van Trees against closed forms of linear encoders and Gaussian images."""

import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf
from torch import nn

from dtfl_private.defense import KnownNoise
from dtfl_private.measures.fisher_information import FisherInformation
from dtfl_private.measures.gaussian_prior import prior_information

PRECISE = FisherInformation(probes=4000)


def figures_of(measure, release):
    return {figure.metric: figure for figure in measure.figures(release)}


def test_dfil_of_a_linear_encoder_is_the_closed_form(make_release, images_of, linear):
    """tr(M^T M) / (d s^2); 20 records x 4,000 probes, relative deviation sqrt(2 / 80,000 / rank): 5e-3 at most.

    False alarm at 4 %: 1e-15.
    """
    matrix, encoder = linear(6)
    found = figures_of(PRECISE, make_release(images_of(20), encoder, std=0.5, releases=3))
    expected = float(matrix.square().sum()) / 9 / 0.25
    assert found["jacobian-trace-per-pixel"].value == pytest.approx(expected * 0.25, rel=0.04)
    assert found["dfil"].value == pytest.approx(expected, rel=0.04)
    assert found["mse-bound-unbiased"].value == pytest.approx(1 / expected, rel=0.04)
    assert found["dfil-cumulated"].value == pytest.approx(3 * found["dfil"].value)
    assert found["mse-bound-unbiased-cumulated"].value == pytest.approx(found["mse-bound-unbiased"].value / 3)


def test_least_squares_reaches_the_unbiased_bound(make_release, images_of, linear):
    """Of a rotation the bound is tight: inverting it errs by the noise alone. 500 x 9 errors, within 6 deviations."""
    rotation = torch.linalg.qr(linear(9)[0]).Q
    release = make_release(images_of(500), lambda batch: 2 * batch.flatten(1) @ rotation, std=0.3)
    guess = (release.smashed @ rotation.T) / 2
    error = float((guess - release.images.flatten(1)).square().mean())
    bound = figures_of(FisherInformation(probes=100), release)["mse-bound-unbiased"].value
    assert error == pytest.approx(bound, rel=6 * (2 / 4500) ** 0.5)


def test_the_best_guess_of_gaussian_images_errs_by_the_prior_bound(make_release):
    """Pixels N(0.5, v), z = x + s noise: the posterior's error v s^2 / (v + s^2) is van Trees' bound.

    The covariance comes from 1,000 images: it is off by 2 %, the bound by less.
    """
    v, s, generator = 0.04, 0.3, torch.Generator().manual_seed(0)
    images = 0.5 + v**0.5 * torch.randn(2000, 1, 2, 2, generator=generator)
    found = figures_of(
        FisherInformation(probes=20), make_release(images, lambda x: x.flatten(1), std=s, batch_size=500)
    )
    assert found["mse-bound-prior"].value == pytest.approx(v * s**2 / (v + s**2), rel=0.1)
    assert found["mse-bound-prior"].value < found["mse-bound-unbiased"].value


def test_without_noise_the_figures_are_the_trace_and_the_noise_that_would_be_needed(make_release, images_of, linear):
    _, encoder = linear(6)
    release = make_release(images_of(20), encoder, releases=4)
    found = figures_of(FisherInformation(), release)
    assert found.keys() == {"jacobian-trace-per-pixel", "noise-for-mse-0.01", "noise-for-mse-0.01-cumulated"}
    needed = found["noise-for-mse-0.01"].value
    defended = figures_of(FisherInformation(), make_release(images_of(20), encoder, std=needed))
    assert defended["mse-bound-unbiased"].value == pytest.approx(0.01, rel=1e-4)
    assert found["noise-for-mse-0.01-cumulated"].value == pytest.approx(2 * needed)


def test_unknown_noise_gives_no_bound_but_a_reason(make_release, images_of, linear):
    release = make_release(images_of(20), linear(6)[1], std=1.0, noise=KnownNoise(reason="dropout is in the way"))
    assert "dfil" not in figures_of(FisherInformation(), release)
    assert FisherInformation().remarks(release) == ("no dFIL and no bounds on errors: dropout is in the way",)
    assert FisherInformation().remarks(make_release(images_of(20), linear(6)[1], std=1.0)) == ()


def test_what_a_record_does_to_others_by_batch_norm_counts(make_release, images_of):
    """The trace of the Jacobian of a whole batch, record by record, from autograd; 5 records, 4,000 probes."""
    norm = nn.BatchNorm1d(9, affine=False).train().requires_grad_(False)
    release = make_release(images_of(5), lambda batch: norm(batch.flatten(1)), batch_size=5)
    whole = torch.autograd.functional.jacobian(release.encoder, release.images)
    exact = whole.square().sum(dim=(0, 1)).flatten(1).mean(dim=1)
    np.testing.assert_allclose(PRECISE.traces(release).mean(axis=0), exact, rtol=0.15)
    own = torch.stack([whole[record, :, record].square().sum() / 9 for record in range(5)])
    assert (own < 0.9 * exact).all()


def test_each_record_of_each_batch_has_its_own_trace(make_release):
    """Of squared pixels it is the mean of (2 x)^2; here pixels of record i are all (i + 1) / 40.

    Relative deviation sqrt(2 / 500 / 9), 2 %; false alarm at 15 % over 40 records: 1e-10.
    """
    images = (torch.arange(1.0, 41.0) / 40).reshape(-1, 1, 1, 1).expand(-1, 1, 3, 3)
    found = FisherInformation(probes=500).traces(make_release(images, lambda batch: batch.flatten(1).square()))
    np.testing.assert_allclose(found.mean(axis=0), 4 * (np.arange(1, 41) / 40) ** 2, rtol=0.15)


def test_an_encoder_that_tells_nothing_has_no_unbiased_reconstruction(make_release, images_of):
    images = images_of(20)
    found = figures_of(FisherInformation(), make_release(images, lambda batch: 0 * batch.flatten(1), std=1.0))
    assert found["dfil"].value == 0
    assert "mse-bound-unbiased" not in found
    assert found["mse-bound-prior"].value == pytest.approx(1 / prior_information(images))


@pytest.mark.parametrize(("count", "side"), [(200, 3), (9, 3), (12, 6)])
def test_the_prior_is_scikit_learns_shrunk_covariance(count, side, images_of):
    images = images_of(count, side) @ torch.randn(side, side, generator=torch.Generator().manual_seed(2))
    covariance = LedoitWolf().fit(images.flatten(1).double().numpy()).covariance_
    expected = np.trace(np.linalg.inv(covariance)) / side**2
    assert prior_information(images) == pytest.approx(expected, rel=1e-6)


def test_the_adversarys_own_images_are_the_prior_if_it_has_any(make_release, images_of, linear):
    auxiliary = 0.5 + 0.1 * images_of(50, seed=3)
    release = make_release(images_of(20), linear(6)[1], std=1.0, auxiliary=auxiliary)
    found = figures_of(FisherInformation(), release)
    expected = 1 / (found["dfil"].value + prior_information(auxiliary))
    assert found["mse-bound-prior"].value == pytest.approx(expected)


def test_images_that_are_all_equal_have_no_prior():
    with pytest.raises(ValueError, match="all equal"):
        prior_information(torch.full((4, 1, 2, 2), 0.5))
