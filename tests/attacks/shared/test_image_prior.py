from dataclasses import replace

import pytest
import torch
from torch import nn

from dtfl_private.attacks.shared.feature_matching import Matching, match
from dtfl_private.attacks.shared.image_prior import FARTHEST, RIDGE, ImagePrior, LikelyImages
from dtfl_private.leakage.image_metrics import psnr


def test_standard_normal_values_have_the_classes_means_and_the_images_covariance(make_view):
    view, _ = make_view(nn.Flatten())
    prior, auxiliary = ImagePrior.of(view, "cpu"), view.auxiliary
    nothing = torch.zeros(1, 256)
    for label in range(10):
        mean = auxiliary.images[auxiliary.labels == label].mean(dim=0)
        torch.testing.assert_close(prior.images(nothing, [label])[0], mean)
    # The images of unit vectors are the rows of a square root of the covariance.
    root = (prior.images(torch.eye(256), [3] * 256) - prior.means[3]).flatten(1)
    apart = (auxiliary.images - prior.means[auxiliary.labels]).flatten(1)
    shown = prior.directions @ prior.directions.T
    covariance = apart.T @ apart / len(apart) + RIDGE * shown + prior.rest**2 * (torch.eye(256) - shown)
    torch.testing.assert_close(root @ root.T, covariance, atol=1e-4, rtol=1e-3)


def test_beside_what_auxiliary_images_differ_in_values_deviate_as_held_out_images_do(make_view, digits):
    pixels, labels = digits
    chance = torch.Generator().manual_seed(0)
    for noise in (0.0, 0.02, 0.2):  # fewer images than pixels: noise is largely beside their directions
        noisy = pixels + noise * torch.randn(pixels.shape, generator=chance)
        view, truth = make_view(nn.Flatten(), images=(noisy, labels), auxiliary=100)
        prior = ImagePrior.of(view, "cpu")
        apart = (truth - prior.means[labels[: len(truth)]]).flatten(1)
        left = apart - apart @ prior.directions @ prior.directions.T
        deviation = left.square().sum(dim=1).mean().div(256 - prior.directions.shape[1]).sqrt().item()
        assert prior.rest == pytest.approx(deviation, rel=0.25, abs=2e-3)
        values = torch.randn(200, 256, generator=chance)
        drawn = (prior.images(values, [0] * 200) - prior.means[0]).flatten(1)
        drawn = drawn - drawn @ prior.directions @ prior.directions.T
        found = drawn.square().sum(dim=1).mean().div(256 - prior.directions.shape[1]).sqrt().item()
        assert found == pytest.approx(prior.rest, rel=0.05)


def test_directions_that_no_auxiliary_image_shows_are_none(make_view, digits):
    pixels = digits[0].clone()
    pixels[:, :, :4] = 0  # 64 pixels that are black in all images
    prior = ImagePrior.of(make_view(nn.Flatten(), images=(pixels, digits[1]))[0], "cpu")
    assert prior.directions.shape[1] <= 192
    values = torch.randn(20, 256, generator=torch.Generator().manual_seed(0))
    assert prior.images(values, [0] * 20)[:, :, :4].abs().max() < 0.02


def test_without_auxiliary_images_values_are_pixels_from_grey_on(make_view):
    view, _ = make_view(nn.Flatten(), knows="architecture")
    prior = ImagePrior.of(view, "cpu")
    values = torch.rand(2, 256) - 0.5
    assert not prior.informed
    torch.testing.assert_close(prior.images(values, [0, 9]).flatten(1), values + 0.5)


def test_images_have_values_along_their_directions_and_beside_them(make_view):
    view, truth = make_view(nn.Flatten(), auxiliary=60)  # fewer images than pixels
    likely = LikelyImages.of(view)
    held_out = view.auxiliary.validation_images
    assert len(likely.deviations) < 256
    for images in (held_out, truth):
        values = likely.values(images)
        inside = (values.abs() < FARTHEST).all(dim=1)
        assert inside.any()
        torch.testing.assert_close(likely.images(values)[inside], images[inside], atol=1e-5, rtol=0)
    # A direction varies at least as much as it does for images that it was fitted to, pooled with others.
    apart = (view.auxiliary.images - likely.mean).flatten(1) @ likely.directions
    share = len(apart) / (len(apart) + len(held_out))
    assert (likely.deviations.square() >= share * apart.square().mean(dim=0) * 0.999).all()


def test_a_search_along_what_images_differ_in_finds_them_behind_few_measurements(make_view):
    class Few(nn.Module):
        """A third as many numbers as there are pixels."""

        def __init__(self):
            super().__init__()
            chance = torch.Generator().manual_seed(0)
            self.register_buffer("matrix", torch.randn(256, 80, generator=chance) / 16)

        def forward(self, inputs):
            return inputs.flatten(1) @ self.matrix

    view, truth = make_view(Few(), auxiliary=200)
    (seen,), likely = view.seen, LikelyImages.of(view)
    program, start = view.program(seen, adaptive=True), likely.mean.expand_as(truth)
    way = Matching(steps=150, lr=0.1, smoothness=1e-3, fade=4.0, memory=0.99)
    plain, along = (
        match(program, seen.batches[0].smashed, start, replace(way, likely=prior)) for prior in (None, likely)
    )
    assert psnr(along, truth).mean() > psnr(plain, truth).mean() + 3
