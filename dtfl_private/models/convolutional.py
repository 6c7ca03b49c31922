"""torchvision's convolutional networks, made for small images: VGG-11, ResNet-18, MobileNetV2, EfficientNet-B0.

The classes and their initial weights are torchvision's, but EfficientNet's classifier. Changed are: the number of
halvings of the image, which are the last ones that leave at least 4x4 pixels (at 224x224 the original network); the
first convolution, which takes the image's channels; the kind of norm; and work in place, which per-sample gradients
cannot follow. The cuts are automatic.
"""

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torchvision.models import MobileNetV2, ResNet
from torchvision.models.efficientnet import EfficientNet, MBConv, MBConvConfig
from torchvision.models.resnet import BasicBlock
from torchvision.models.vgg import VGG, make_layers

from dtfl_private.models.cutting.automatic import Cuts, cut_automatically
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.models.input_kinds import network
from dtfl_private.models.norms import Norm, make_norm
from dtfl_private.models.setting_types import Rate

# Pixels per side that a network's own halvings must leave.
LEAST_SIDE = 4


def kept_halvings(side: int, most: int) -> int:
    """Return how many halvings, at most ``most``, leave at least 4 pixels of a side (rounded up at each)."""
    kept = 0
    while kept < most and math.ceil(side / 2 ** (kept + 1)) >= LEAST_SIDE:
        kept += 1
    return kept


def _fewer_halvings(halvings: Sequence[nn.Conv2d], side: int) -> None:
    """Take the stride out of the first convolutions, so that the last feature map keeps at least 4x4 pixels."""
    for convolution in halvings[: len(halvings) - kept_halvings(side, len(halvings))]:
        convolution.stride = (1, 1)


def _strided(module: nn.Module) -> list[nn.Conv2d]:
    return [part for part in module.modules() if isinstance(part, nn.Conv2d) and part.stride != (1, 1)]


def _for_channels(convolution: nn.Conv2d, channels: int) -> nn.Conv2d:
    """Return a first convolution like the given one for images of so many channels, freshly drawn."""
    if convolution.in_channels == channels:
        return convolution
    size = (convolution.kernel_size[0], convolution.kernel_size[1])
    stride, padding = (convolution.stride[0], convolution.stride[1]), (size[0] // 2, size[1] // 2)
    fresh = nn.Conv2d(channels, convolution.out_channels, size, stride, padding, bias=convolution.bias is not None)
    nn.init.kaiming_normal_(fresh.weight, mode="fan_out", nonlinearity="relu")
    if fresh.bias is not None:
        nn.init.zeros_(fresh.bias)
    return fresh


def _out_of_place(module: nn.Module) -> nn.Module:
    for part in module.modules():
        if getattr(part, "inplace", False):
            part.inplace = False  # type: ignore[assignment] # mypy takes any attribute for a module
    return module


VGG_11: tuple[int | str, ...] = (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")


@network(source="Simonyan and Zisserman 2014, arXiv 1409.1556")
def vgg11(
    *, input_shape: tuple[int, ...], classes: int, norm: Norm, cuts: Cuts = "auto", dropout: Rate = 0.5
) -> StagedModel:
    """VGG-11 (configuration A) with norms; average pool, and 512 instead of 4,096 units in the classifier.

    Poolings that would leave fewer than 2x2 pixels are left out, the last one first.
    """
    kept, layout = 0, []
    for layer in VGG_11:
        if layer == "M":
            if min(input_shape[1:]) // 2 ** (kept + 1) < 2:
                continue
            kept += 1
        layout.append(layer)
    features = make_layers(layout, batch_norm=True)
    features[0] = _for_channels(features[0], input_shape[0])
    for position, layer in enumerate(features):
        if isinstance(layer, nn.BatchNorm2d):
            features[position] = make_norm(norm, layer.num_features)
    # The classifier for 224x224 images alone has 120 million weights: drawn on the meta device, it costs nothing.
    with torch.device("meta"):
        model = VGG(features, classes, init_weights=False)
    model.avgpool = nn.AdaptiveAvgPool2d(1)
    model.classifier = nn.Sequential(
        *(nn.Linear(512, 512), nn.ReLU(), nn.Dropout(dropout)),
        *(nn.Linear(512, 512), nn.ReLU(), nn.Dropout(dropout)),
        nn.Linear(512, classes),
    )
    for layer in features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return cut_automatically(_out_of_place(model), input_shape, cuts)


class _BasicBlock(BasicBlock):  # type: ignore[misc] # torchvision has no types
    """torchvision's block with the residual sum out of place."""

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.relu(self.bn1(self.conv1(x)))
        hidden = self.bn2(self.conv2(hidden))
        shortcut = x if self.downsample is None else self.downsample(x)
        summed: Tensor = self.relu(hidden + shortcut)
        return summed


@network(source="He et al. 2015, arXiv 1512.03385")
def resnet18(*, input_shape: tuple[int, ...], classes: int, norm: Norm, cuts: Cuts = "auto") -> StagedModel:
    """ResNet-18, widths 64 to 512; for small images a 3x3 stem without pooling, as is usual for CIFAR."""
    model = ResNet(_BasicBlock, [2, 2, 2, 2], classes, norm_layer=partial(make_norm, norm))
    side = min(input_shape[1:])
    kept = kept_halvings(side, 5)
    if kept < 4:
        model.maxpool = nn.Identity()
    if kept < 5:
        model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.conv1 = _for_channels(model.conv1, input_shape[0])
    for layer in [model.layer2, model.layer3, model.layer4][: max(0, 3 - kept)]:
        for convolution in _strided(layer):
            convolution.stride = (1, 1)
    return cut_automatically(_out_of_place(model), input_shape, cuts)


@network(source="Sandler et al. 2018, arXiv 1801.04381")
def mobilenet_v2(
    *, input_shape: tuple[int, ...], classes: int, norm: Norm, cuts: Cuts = "auto", dropout: Rate = 0.2
) -> StagedModel:
    """MobileNetV2: inverted residual blocks of depthwise convolutions, linear bottlenecks."""
    model = MobileNetV2(classes, norm_layer=partial(make_norm, norm), dropout=dropout)
    model.features[0][0] = _for_channels(model.features[0][0], input_shape[0])
    _fewer_halvings(_strided(model), min(input_shape[1:]))
    return cut_automatically(_out_of_place(model), input_shape, cuts)


class _Block(MBConv):  # type: ignore[misc] # torchvision has no types
    """torchvision's block with the residual sum out of place."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torchvision's name
        hidden: Tensor = self.block(input)
        return input + self.stochastic_depth(hidden) if self.use_res_connect else hidden


# Expansion, kernel, stride, channels in, channels out, blocks (Tan and Le 2019, table 1).
EFFICIENTNET_B0 = (
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)


@network(source="Tan and Le 2019, arXiv 1905.11946")
def efficientnet_b0(
    *,
    input_shape: tuple[int, ...],
    classes: int,
    norm: Norm,
    cuts: Cuts = "auto",
    dropout: Rate = 0.2,
    stochastic_depth: Rate = 0.2,
) -> StagedModel:
    """EfficientNet-B0: inverted residual blocks with squeeze and excitation, SiLU and stochastic depth."""
    blocks = [MBConvConfig(*row, block=_Block) for row in EFFICIENTNET_B0]
    model = EfficientNet(blocks, dropout, stochastic_depth, classes, norm_layer=partial(make_norm, norm))
    # torchvision draws the classifier within 1/sqrt(classes), which suits 1,000 classes: with few, training starts with
    # a loss of about 5. torch's own range is 1/sqrt(features).
    model.classifier[1].reset_parameters()
    model.features[0][0] = _for_channels(model.features[0][0], input_shape[0])
    _fewer_halvings(_strided(model), min(input_shape[1:]))
    return cut_automatically(_out_of_place(model), input_shape, cuts)
