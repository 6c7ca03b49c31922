import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dtfl_private.data.digits import load_digits
from dtfl_private.data.preprocess import Normaliser
from dtfl_private.models.build import build_model
from dtfl_private.models.norms import make_norm


@pytest.mark.parametrize("channels", [16, 32, 256])
def test_the_two_kinds_of_norm(channels):
    group = make_norm("group", channels)
    assert isinstance(group, nn.GroupNorm)
    assert (group.num_groups, group.num_channels) == (8, channels)
    batch = make_norm("batch", channels)
    assert isinstance(batch, nn.BatchNorm2d)
    assert batch.num_features == channels


@pytest.fixture(scope="module")
def convolved() -> torch.Tensor:
    """Return what the norm of md1 gets of 100 digits."""
    digits = load_digits(size=8)
    model = build_model("resnet-8", input_shape=digits.input_shape, classes=10, norm="group", seed=0)
    with torch.no_grad():
        return model[0].conv(Normaliser.of(digits)(digits.train_images[:100]))


def spread_over_images(features_BCHW: torch.Tensor) -> torch.Tensor:
    """Return the deviation of each channel's global average over the images: what an auxiliary head can tell apart."""
    return features_BCHW.detach().mean(dim=(2, 3)).std(dim=0)


def test_one_group_per_channel_would_give_every_image_the_same_averages(convolved):
    assert spread_over_images(nn.GroupNorm(16, 16)(convolved)).max() < 1e-6


def test_eight_groups_leave_the_averages_of_images_different(convolved):
    assert spread_over_images(make_norm("group", 16)(convolved)).min() > 0.01


def test_eight_groups_do_not_starve_the_head_behind_the_relu_of_md1(convolved):
    ours = spread_over_images(F.relu(make_norm("group", 16)(convolved)))
    starved = spread_over_images(F.relu(nn.GroupNorm(16, 16)(convolved)))
    assert ours.mean() > 2 * starved.mean()
