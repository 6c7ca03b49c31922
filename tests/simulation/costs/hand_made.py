"""A network whose costs can be computed by hand."""

import torch
from torch import nn

from dtfl_private.models.cutting.staged import StagedModel, numbered


def hand_made() -> StagedModel:
    torch.manual_seed(0)
    return numbered(
        [
            nn.Conv2d(2, 3, 3, padding=1),
            nn.Sequential(
                nn.ReLU(inplace=True), nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(4)
            ),
            nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)),
        ]
    )
