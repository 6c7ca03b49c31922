"""Terms of losses on images: structural similarity and total variation, differentiable, one number per image."""

import torch
from torch import Tensor
from torch.nn import functional as F

from dtfl_private.leakage.image_metrics import SSIM_C1, SSIM_C2, SSIM_SIGMA, ssim_window


def structural_similarity(guess: Tensor, images: Tensor) -> Tensor:
    """Return the SSIM (B,) of images (B, C, H, W), as the scores have it, but in their own precision."""
    height, width = images.shape[2:]
    side = ssim_window(height, width)
    offsets = torch.arange(side, dtype=images.dtype, device=images.device) - side // 2
    weights = torch.exp(-((offsets * 11 / (SSIM_SIGMA * side)) ** 2) / 2)
    weights = weights / weights.sum()

    def average(values: Tensor) -> Tensor:
        flat = values.flatten(0, 1).unsqueeze(1)
        across = F.conv2d(F.conv2d(flat, weights.view(1, 1, 1, -1)), weights.view(1, 1, -1, 1))
        return across.view(*values.shape[:2], *across.shape[2:])

    mean_g, mean_i = average(guess), average(images)
    covariance = average(guess * images) - mean_g * mean_i
    variances = average(guess * guess) - mean_g**2 + average(images * images) - mean_i**2
    luminance = (2 * mean_g * mean_i + SSIM_C1) / (mean_g**2 + mean_i**2 + SSIM_C1)
    similarity: Tensor = (luminance * (2 * covariance + SSIM_C2) / (variances + SSIM_C2)).flatten(1).mean(dim=1)
    return similarity


def total_variation(images: Tensor) -> Tensor:
    """Return the mean absolute difference of neighbouring pixels (B,), down plus across, of images (B, C, H, W)."""
    down = (images[:, :, 1:] - images[:, :, :-1]).abs().flatten(1).mean(dim=1)
    across = (images[:, :, :, 1:] - images[:, :, :, :-1]).abs().flatten(1).mean(dim=1)
    return down + across
