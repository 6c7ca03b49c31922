"""The choice between batch and group normalisation."""

from typing import Literal

from torch import nn

Norm = Literal["batch", "group"]

# One group per channel followed by global average pooling leaves the auxiliary head of md1 a constant: every
# channel's mean is its bias. Eight groups at 16 channels keep the differences inside a group.
GROUPS = 8


def make_norm(norm: Norm, channels: int) -> nn.Module:
    """Return the normalisation layer for ``channels`` channels: batch norm, or group norm with 8 groups."""
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(GROUPS, channels)
