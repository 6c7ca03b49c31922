"""He, Zhang and Lee's network against its published layers: 10 classes, 3x32x32."""

import pytest
import torch

from dtfl_private.models.build import build_model
from dtfl_private.models.cutting.staged import cut_shapes, split


def test_layers_and_parameters_are_the_published_ones():
    model = build_model("he-cnn", input_shape=(3, 32, 32), classes=10, norm="batch", seed=0)
    convolutions = 1_792 + 36_928 + 73_856 + 3 * 147_584
    assert sum(parameter.numel() for parameter in model.parameters()) == convolutions + 1_049_088 + 5_130


def test_its_three_tiers_are_the_published_cuts():
    model = build_model("he-cnn", input_shape=(3, 32, 32), classes=10, norm="group", seed=0)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert cut_shapes(model, images)[:3] == [(64, 32, 32), (128, 16, 16), (128, 8, 8)]
    assert model.tiers == (1, 2, 3)
    smallest = [float(split(model, tier)[0](images).detach().min()) for tier in model.tiers]
    assert smallest[0] < 0  # before the ReLU
    assert smallest[1:] == [0, 0]


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 8, 8)])
def test_smaller_images_are_taken(shape):
    model = build_model("he-cnn", input_shape=shape, classes=5, norm="batch", seed=0)
    assert model(torch.zeros(2, *shape)).shape == (2, 5)
