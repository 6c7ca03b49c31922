import torch
from torch import nn

from dtfl_private.attacks.shared.image_prior import RIDGE, ImagePrior


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
    covariance = apart.T @ apart / len(apart) + RIDGE * torch.eye(256)
    torch.testing.assert_close(root @ root.T, covariance, atol=1e-4, rtol=1e-3)


def test_without_auxiliary_images_values_are_pixels_from_grey_on(make_view):
    view, _ = make_view(nn.Flatten(), knows="architecture")
    prior = ImagePrior.of(view, "cpu")
    values = torch.rand(2, 256) - 0.5
    assert not prior.informed
    torch.testing.assert_close(prior.images(values, [0, 9]).flatten(1), values + 0.5)
