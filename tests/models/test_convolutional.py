"""torchvision's networks as they are built here against torchvision's own."""

from collections.abc import Callable

import pytest
import torch
import torchvision.models
from torch import nn

from dtfl_private.models import convolutional
from dtfl_private.models.build import build_model
from dtfl_private.models.convolutional import kept_halvings
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.plugins.registry import create
from dtfl_private.runtime.device import one_thread

OURS = {
    "resnet-18": torchvision.models.resnet18,
    "mobilenet-v2": torchvision.models.mobilenet_v2,
    "efficientnet-b0": torchvision.models.efficientnet_b0,
}


def build(name: str, *shape: int, norm: str = "batch") -> StagedModel:
    with torch.device("meta"):
        return build_model(name, input_shape=shape, classes=10, norm=norm, seed=0)


@pytest.fixture
def uncut(monkeypatch) -> Callable[..., nn.Module]:
    """Make a network on the meta device and leave it whole: ``uncut(text, *shape, norm="batch")``."""
    monkeypatch.setattr(convolutional, "cut_automatically", lambda network, *_: network)

    def make(text: str, *shape: int, norm: str = "batch") -> nn.Module:
        with torch.device("meta"):
            return create("model", text, input_shape=shape, classes=10, norm=norm, tokens=None)

    return make


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", sorted(OURS))
def test_large_colour_images_get_torchvision_s_network(name):
    with one_thread():
        theirs = OURS[name](num_classes=10).eval()
        ours = build_model(name, input_shape=(3, 224, 224), classes=10, norm="batch", seed=0).eval()
        states = zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True)
        for (our_name, our_tensor), (their_name, their_tensor) in states:
            assert our_name.partition(".")[2] == their_name
            our_tensor.copy_(their_tensor)
        images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            torch.testing.assert_close(ours(images), theirs(images))


@pytest.mark.parametrize("name", sorted(OURS))
@pytest.mark.parametrize("side", [8, 64])
def test_small_images_keep_at_least_four_by_four_pixels(uncut, name, side):
    seen = []
    model = uncut(name, 3, side, side, norm="group")
    hooks = [
        part.register_forward_hook(lambda _module, _inputs, output: seen.append(min(output.shape[2:])))
        for part in model.modules()
        if isinstance(part, nn.Conv2d)
    ]
    model.eval()(torch.zeros(1, 3, side, side, device="meta"))
    assert len(seen) == len(hooks) > 0
    spatial = [pixels for pixels in seen if pixels > 1]  # squeeze and excitation works on 1x1
    assert min(spatial) == 4


@pytest.mark.parametrize(
    ("side", "kept"), [(8, 1), (15, 2), (16, 2), (28, 3), (32, 3), (64, 4), (96, 4), (97, 5), (224, 5), (1000, 5)]
)
def test_the_halvings_that_are_kept(side, kept):
    assert kept_halvings(side, 5) == kept


@pytest.mark.parametrize(("side", "poolings"), [(8, 2), (16, 3), (28, 3), (32, 4), (64, 5)])
def test_vgg_pools_while_two_by_two_pixels_are_left(uncut, side, poolings):
    model = uncut("vgg-11", 1, side, side)
    assert sum(isinstance(part, nn.MaxPool2d) for part in model.modules()) == poolings
    widths = [part.out_channels for part in model.modules() if isinstance(part, nn.Conv2d)]
    assert widths == [64, 128, 256, 256, 512, 512, 512, 512]
    assert [part.p for part in model.modules() if isinstance(part, nn.Dropout)] == [0.5, 0.5]


def test_vgg_s_features_are_torchvision_s(uncut):
    model = uncut("vgg-11", 3, 32, 32)
    with torch.device("meta"):
        theirs = torchvision.models.vgg11_bn().features
    ours = sum(parameters(part) for part in model.modules() if isinstance(part, nn.Conv2d | nn.BatchNorm2d))
    assert ours == parameters(theirs)


def test_settings_reach_the_network(uncut):
    def chances(text: str, kind: str) -> set[float]:
        return {getattr(part, "p", 0.0) for part in uncut(text, 3, 32, 32).modules() if type(part).__name__ == kind}

    assert chances("vgg-11:dropout=0.3", "Dropout") == {0.3}
    assert chances("mobilenet-v2:dropout=0.1", "Dropout") == {0.1}
    assert chances("efficientnet-b0:stochastic-depth=0,dropout=0.4", "StochasticDepth") == {0.0}
    assert max(chances("efficientnet-b0", "StochasticDepth")) == pytest.approx(0.2 * 15 / 16)


def test_seven_cuts_by_default_a_number_of_cuts_and_all():
    assert len(build("vgg-11", 3, 32, 32).tiers) == 7
    assert len(build("vgg-11:cuts=3", 3, 32, 32).tiers) == 3
    assert len(build("vgg-11:cuts=all", 3, 32, 32).tiers) == 8
