"""Global average pooling of images, fast in both memory formats, and of token sequences."""

import torch
from torch import Tensor

from dtfl_private.models.padding import real_places


def global_average(features: Tensor, real_BT: Tensor | None = None) -> Tensor:
    """Return the mean over height and width of (B, C, H, W), or over the real places of (B, T, C): (B, C).

    Places of a sequence that are zero throughout are padding, and do not count, unless ``real_BT`` says which do; those
    that do not are zero. Of padding alone the mean is 0.

    The gradient of ``mean(dim=(2, 3))`` comes back in the contiguous format whatever the input's was, and mixing
    formats makes the next backward step several times slower. Averaging along the axes as they lie in memory keeps
    the format.
    """
    if features.ndim == 3:
        real_BT = real_places(features) if real_BT is None else real_BT
        count = real_BT.sum(dim=1, keepdim=True).clamp(min=1)
        return features.mean(dim=1) * (features.shape[1] / count).to(features.dtype)  # times 1 where all are real
    if features.is_contiguous(memory_format=torch.channels_last):
        return features.permute(0, 2, 3, 1).flatten(1, 2).mean(dim=1)
    return features.flatten(2).mean(dim=2)
