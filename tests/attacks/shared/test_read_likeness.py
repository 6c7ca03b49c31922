"""The likelihood ratio by what defenses let show: that of two normal distributions, of the values that show."""

import math
from dataclasses import replace

import pytest
import torch
from scipy.integrate import quad
from scipy.stats import laplace, multivariate_normal, norm

from dtfl_private.attacks.shared.read_likeness import ReadLikeness, laplace_densities
from dtfl_private.protection.release_reading import Reading


def normal(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_the_ratio_is_that_of_two_normal_distributions_of_what_shows(noise):
    def read(received):
        shown = received != 0
        return Reading(values=received, shown=shown, deviation=noise)

    made = normal(40, 3, 2, 2, seed=0) + normal(40, 1, 1, 1, seed=1)
    sent = (made + (noise + 0.1) * normal(40, 3, 2, 2, seed=2)) * (normal(40, 3, 2, 2, seed=3) > -0.5)
    likeness = ReadLikeness.fit(read, sent, made, made)
    found = likeness.log_ratios(made[:4], sent[:5])
    any_image = likeness.directions.T @ likeness.directions + torch.diag(likeness.apart)
    own_noise = torch.diag(noise**2 + likeness.extra.flatten())
    for record in range(5):
        shows = (sent[record] != 0).flatten()
        values = sent[record].flatten()[shows].double()
        of_noise = own_noise[shows][:, shows]
        of_any = multivariate_normal(likeness.mean[shows], any_image[shows][:, shows] + of_noise).logpdf(values)
        for image in range(4):
            of_this = multivariate_normal(made[image].flatten()[shows].double(), of_noise).logpdf(values)
            assert found[image, record] == pytest.approx(of_this - of_any, rel=1e-6, abs=1e-6)


def test_what_differs_beside_the_known_noise_is_learnt_channel_by_channel():
    made = normal(200, 2, 4, 4, seed=0)
    beside = torch.tensor([0.5, 2.0])[:, None, None]
    sent = made + (beside**2 + 1).sqrt() * normal(200, 2, 4, 4, seed=1)
    likeness = ReadLikeness.fit(lambda received: Reading.of(received).noisier(1.0), sent, made, made)
    assert likeness.extra.shape == (2, 4, 4)
    torch.testing.assert_close(likeness.extra[:, 0, 0].sqrt(), torch.tensor([0.5, 2.0]).double(), rtol=0.1, atol=0)


def test_any_image_may_be_taken_for_one_of_those_that_are_there():
    made = normal(30, 2, 2, 2, seed=0)
    sent = made + normal(30, 2, 2, 2, seed=1)
    normal_one = ReadLikeness.fit(lambda received: Reading.of(received).noisier(1.0), sent, made, made)
    found = replace(normal_one, any_of=made).log_ratios(made[:4], sent[:5])
    noise = torch.diag(1 + normal_one.extra.flatten())
    for record in range(5):
        values = sent[record].flatten().double()
        each = [multivariate_normal(image.flatten().double(), noise).pdf(values) for image in made]
        for image in range(4):
            assert found[image, record] == pytest.approx(math.log(each[image] / (sum(each) / len(each))), rel=1e-6)


def test_any_image_is_one_of_which_the_label_would_be_sent():
    made = normal(12, 2, 2, 2, seed=0)
    sent = made + normal(12, 2, 2, 2, seed=1)
    fitted = ReadLikeness.fit(lambda received: Reading.of(received).noisier(1.0), sent, made, made)
    of_one_label = torch.full((12, 5), -torch.inf, dtype=torch.float64)
    of_one_label[:4] = math.log(1 / 3)
    some = replace(fitted, any_of=made[:4]).log_ratios(made, sent[:5])
    found = replace(fitted, any_of=made).log_ratios(made, sent[:5], of_one_label)
    # A third of the weight of four images in twelve: less by log(4 / 12 / 3) than the mean over those four.
    torch.testing.assert_close(found, some + math.log(9))


def test_laplace_noise_is_weighed_as_what_it_is_with_normal_deviations_beside_it():
    made, sent = normal(2, 2, 1, 1, seed=0), 3 * normal(3, 2, 1, 1, seed=1)
    reading = Reading.of(sent).noisier(1.5, "laplace")
    beside = torch.tensor([0.04, 4.0]).double()[:, None, None]
    found = laplace_densities(reading, beside, made)
    noise = laplace(scale=1.5 / math.sqrt(2))
    for image in range(2):
        for record in range(3):
            away = (sent[record] - made[image]).flatten().tolist()
            sums = [
                quad(lambda x, r=r, s=s: noise.pdf(r - x) * norm.pdf(x, scale=s), -25, 25, points=[r, 0])[0]
                for r, s in zip(away, beside.sqrt().flatten().tolist(), strict=True)
            ]
            assert found[image, record] == pytest.approx(sum(map(math.log, sums)), rel=1e-6)


def test_under_laplace_noise_any_image_there_counts_by_its_laplace_density():
    made = normal(12, 2, 2, 2, seed=0)
    sent = made + normal(12, 2, 2, 2, seed=1)
    fitted = ReadLikeness.fit(lambda received: Reading.of(received).noisier(1.0, "laplace"), sent, made, made)
    likeness = replace(fitted, any_of=made[:6])
    each = laplace_densities(likeness.read(sent[:5]), fitted.extra, made)
    expected = each - (each[:6].logsumexp(dim=0) - math.log(6))
    torch.testing.assert_close(likeness.log_ratios(made, sent[:5]), expected)
