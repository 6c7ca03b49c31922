"""The convolutional network that the published inversion attacks on split networks were measured on."""

import math

from torch import nn

from dtfl_private.models.cutting.staged import StagedModel, numbered
from dtfl_private.models.input_kinds import network
from dtfl_private.models.norms import Norm

WIDTHS = (64, 64, 128, 128, 128, 128)


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


@network(source="He et al. 2019, ACSAC, 10.1145/3359789.3359824")
def he_cnn(
    *,
    input_shape: tuple[int, ...],
    classes: int,
    norm: Norm,  # noqa: ARG001 - every network takes it; this one was published without
) -> StagedModel:
    """Six 3x3 convolutions, cut behind the first, the fourth and the sixth; it has no norms.

    The published cuts: the first one before the ReLU, the others behind it.
    """
    one, two, three, four, five, six = (
        _conv(inputs, outputs) for inputs, outputs in zip((input_shape[0], *WIDTHS), WIDTHS, strict=False)
    )
    features = WIDTHS[-1] * math.prod(side // 8 for side in input_shape[1:])
    return numbered(
        [
            one,
            nn.Sequential(nn.ReLU(), two, nn.ReLU(), nn.MaxPool2d(2), three, nn.ReLU(), four, nn.ReLU()),
            nn.Sequential(nn.MaxPool2d(2), five, nn.ReLU(), six, nn.ReLU()),
            nn.Sequential(
                nn.MaxPool2d(2), nn.Flatten(), nn.Linear(features, 512), nn.Sigmoid(), nn.Linear(512, classes)
            ),
        ]
    )
