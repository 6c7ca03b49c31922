"""Global average pooling of images, fast in both memory formats, and of token sequences."""

import torch
from torch import Tensor


def global_average(features: Tensor) -> Tensor:
    """Return the mean over height and width of (B, C, H, W), or over the tokens of (B, T, C): (B, C).

    The gradient of ``mean(dim=(2, 3))`` comes back in the contiguous format whatever the input's was, and mixing
    formats makes the next backward step several times slower. Averaging along the axes as they lie in memory keeps
    the format.
    """
    if features.ndim == 3:
        return features.mean(dim=1)
    if features.is_contiguous(memory_format=torch.channels_last):
        return features.permute(0, 2, 3, 1).flatten(1, 2).mean(dim=1)
    return features.flatten(2).mean(dim=2)
