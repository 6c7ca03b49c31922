"""Global average pooling that is fast in both memory formats."""

import torch
from torch import Tensor


def global_average(features_BCHW: Tensor) -> Tensor:
    """Return the mean over height and width, (B, C).

    The gradient of ``mean(dim=(2, 3))`` comes back in the contiguous format whatever the input's was, and mixing
    formats makes the next backward step several times slower. Averaging along the axes as they lie in memory keeps
    the format.
    """
    if features_BCHW.is_contiguous(memory_format=torch.channels_last):
        return features_BCHW.permute(0, 2, 3, 1).flatten(1, 2).mean(dim=1)
    return features_BCHW.flatten(2).mean(dim=2)
