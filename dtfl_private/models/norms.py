"""The choice between batch and group normalisation."""

import math
from typing import Literal

from torch import nn

Norm = Literal["batch", "group"]

# With one group per channel every channel's mean is its bias, whatever the image: global average pooling starves the
# auxiliary head of md1, which sees only what the ReLU leaves of the difference. Eight groups at 16 channels keep the
# differences inside a group.
GROUPS = 8


def norms_of(network: nn.Module) -> frozenset[Norm]:
    """Return which of the two kinds a network has layers of; empty where it has neither, as a transformer has."""
    # The common base of batch norm, synchronised batch norm, and their lazy forms.
    kinds: dict[Norm, type[nn.Module]] = {"batch": nn.modules.batchnorm._BatchNorm, "group": nn.GroupNorm}
    return frozenset(norm for norm, kind in kinds.items() if any(isinstance(part, kind) for part in network.modules()))


def make_norm(norm: Norm, channels: int) -> nn.Module:
    """Return the normalisation layer for ``channels`` channels: batch norm, or group norm with 8 groups.

    Where 8 does not divide the channels, there are as many groups as the largest power of two below 8 that does.
    """
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(math.gcd(GROUPS, channels), channels)
