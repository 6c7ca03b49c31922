"""ResNets for small images as ordered modules md1..mdL.

Basic blocks: He et al. 2015, arXiv 1512.03385, section 4.2 (ResNet-20; ResNet-8 with one block per width), with
projection shortcuts. Bottleneck ResNet-56 and ResNet-110: the networks of the DTFL paper (dtfl section 1), expansion
4, stride in the 3x3 convolution. ReLU and the residual sum are out of place, as per-sample gradients need them.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from dtfl_private.models.cutting.automatic import Cuts, cut_automatically
from dtfl_private.models.cutting.staged import StagedModel, numbered
from dtfl_private.models.heads import PooledClassifier
from dtfl_private.models.input_kinds import network
from dtfl_private.models.norms import Norm, make_norm
from dtfl_private.models.residual import fork

WIDTHS = (16, 32, 64)
EXPANSION = 4


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


def _shortcut(inputs: int, outputs: int, stride: int, norm: Norm) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(_conv(inputs, outputs, 1, stride), make_norm(norm, outputs))


class Stem(nn.Module):
    """3x3 convolution to 16 channels, norm, ReLU: md1 of every network here."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.conv = _conv(channels, WIDTHS[0], 3)
        self.norm = make_norm(norm, WIDTHS[0])

    def forward(self, inputs_BCHW: Tensor) -> Tensor:
        """Return (B, 16, H, W)."""
        return F.relu(self.norm(self.conv(inputs_BCHW)))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, width, 3, stride)
        self.norm1 = make_norm(norm, width)
        self.conv2 = _conv(width, width, 3)
        self.norm2 = make_norm(norm, width)
        self.shortcut = _shortcut(inputs, width, stride, norm)

    def forward(self, inputs_BCHW: Tensor) -> Tensor:
        """Return (B, width, H/stride, W/stride)."""
        hidden = F.relu(self.norm1(self.conv1(inputs_BCHW)))
        hidden = self.norm2(self.conv2(hidden))
        return F.relu(hidden + self.shortcut(inputs_BCHW))


class Bottleneck(nn.Module):
    """1x1 down, 3x3, 1x1 up to four times the width, and a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, width, 1)
        self.norm1 = make_norm(norm, width)
        self.conv2 = _conv(width, width, 3, stride)
        self.norm2 = make_norm(norm, width)
        self.conv3 = _conv(width, EXPANSION * width, 1)
        self.norm3 = make_norm(norm, EXPANSION * width)
        self.shortcut = _shortcut(inputs, EXPANSION * width, stride, norm)

    def forward(self, inputs_BCHW: Tensor) -> Tensor:
        """Return (B, 4 x width, H/stride, W/stride)."""
        hidden, inputs_BCHW = fork(self.conv1, inputs_BCHW)
        hidden = F.relu(self.norm1(hidden))
        hidden = F.relu(self.norm2(self.conv2(hidden)))
        hidden = self.norm3(self.conv3(hidden))
        return F.relu(hidden + self.shortcut(inputs_BCHW))


def _resnet(
    block: type[BasicBlock] | type[Bottleneck],
    modules: Sequence[Sequence[int]],
    *,
    input_shape: tuple[int, ...],
    classes: int,
    norm: Norm,
    cuts: Cuts | None = None,
) -> StagedModel:
    """Build a ResNet; ``modules`` gives, for each width, the number of blocks in each of its modules.

    With ``cuts`` it is cut automatically, also inside these modules.
    """
    expansion = EXPANSION if block is Bottleneck else 1
    stages: list[nn.Module] = [Stem(input_shape[0], norm)]
    channels = WIDTHS[0]
    for width, blocks_per_module in zip(WIDTHS, modules, strict=True):
        for module, blocks in enumerate(blocks_per_module):
            layers = []
            for position in range(blocks):
                shrinks = width != WIDTHS[0] and module == 0 and position == 0
                layers.append(block(channels, width, 2 if shrinks else 1, norm))
                channels = expansion * width
            stages.append(nn.Sequential(*layers))
    stages.append(PooledClassifier(channels, classes))
    if cuts is None:
        return numbered(stages)
    return cut_automatically(nn.Sequential(*stages), input_shape, cuts)


@network(source="He et al. 2015, arXiv 1512.03385")
def resnet8(*, input_shape: tuple[int, ...], classes: int, norm: Norm) -> StagedModel:
    """ResNet-8: one basic block per width (16, 32, 64); 5 modules, 4 tiers."""
    return _resnet(BasicBlock, ((1,), (1,), (1,)), input_shape=input_shape, classes=classes, norm=norm)


@network(source="He et al. 2015, arXiv 1512.03385")
def resnet20(*, input_shape: tuple[int, ...], classes: int, norm: Norm) -> StagedModel:
    """ResNet-20: three basic blocks per width, cut after the first and the third; 8 modules, 7 tiers."""
    return _resnet(BasicBlock, ((1, 2), (1, 2), (1, 2)), input_shape=input_shape, classes=classes, norm=norm)


@network(source="DTFL, arXiv 2312.05642")
def resnet56(*, input_shape: tuple[int, ...], classes: int, norm: Norm) -> StagedModel:
    """Bottleneck ResNet-56 of the DTFL paper: six blocks per width; 8 modules, 7 tiers."""
    return _resnet(Bottleneck, ((3, 3), (3, 3), (3, 3)), input_shape=input_shape, classes=classes, norm=norm)


@network(source="He et al. 2015, arXiv 1512.03385")
def resnet20_auto(*, input_shape: tuple[int, ...], classes: int, norm: Norm, cuts: Cuts = "auto") -> StagedModel:
    """ResNet-20, cut automatically."""
    return _resnet(BasicBlock, ((1, 2), (1, 2), (1, 2)), input_shape=input_shape, classes=classes, norm=norm, cuts=cuts)


@network(source="DTFL, arXiv 2312.05642")
def resnet56_auto(*, input_shape: tuple[int, ...], classes: int, norm: Norm, cuts: Cuts = "auto") -> StagedModel:
    """The DTFL paper's ResNet-56, cut automatically."""
    return _resnet(Bottleneck, ((3, 3), (3, 3), (3, 3)), input_shape=input_shape, classes=classes, norm=norm, cuts=cuts)


@network(source="DTFL, arXiv 2312.05642")
def resnet110(*, input_shape: tuple[int, ...], classes: int, norm: Norm) -> StagedModel:
    """Bottleneck ResNet-110 of the DTFL paper: twelve blocks per width; 8 modules, 7 tiers."""
    return _resnet(Bottleneck, ((6, 6), (6, 6), (6, 6)), input_shape=input_shape, classes=classes, norm=norm)
