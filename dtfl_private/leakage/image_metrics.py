"""Scores of reconstructed images against the truth: one number per image, float64.

Guesses and truth are images (N, C, H, W) within 0..1. A guess outside is moved to the nearest value within, which only
brings it closer to the truth. Averages, worst images and intervals: `dtfl_private.leakage.intervals`.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from dtfl_private.protocol.contracts import FloatArray

MAX_PSNR_DB = 100.0
"""PSNR of equal images, and the highest given to any: infinity has no average."""

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2

# Images scored at a time: float64 copies and distance matrices of all of them could fill the memory.
CHUNK = 256
# Squared distances closer than this share of their scale cannot be told apart: far above the rounding errors of
# float64, far below what one grey level changes.
TIE = 1e-10


def mse(guess: Tensor, truth: Tensor) -> FloatArray:
    """Return the mean squared error of each image (N,)."""
    guess, truth = checked(guess, truth)
    return _numpy((guess - truth).square().flatten(1).mean(dim=1))


def psnr(guess: Tensor, truth: Tensor) -> FloatArray:
    """Return the peak signal-to-noise ratio of each image (N,) in dB, peak 1: -10 log10 MSE, at most `MAX_PSNR_DB`."""
    floor = 10 ** (-MAX_PSNR_DB / 10)
    return np.asarray(-10 * np.log10(np.maximum(mse(guess, truth), floor)))


def ssim_window(height: int, width: int) -> int:
    """Return the side of the window of SSIM: 11, or the largest odd number that fits into a smaller image."""
    side = min(height, width, SSIM_WINDOW)
    return side if side % 2 else side - 1


def ssim(guess: Tensor, truth: Tensor) -> FloatArray:
    """Return the structural similarity of each image (N,), at most 1.

    Wang et al. 2004 (IEEE Transactions on Image Processing 13(4)): Gaussian window of side `ssim_window` with standard
    deviation 1.5 x side / 11, K1 = 0.01, K2 = 0.03, range 1; the average over channels and over all places where the
    window lies within the image.
    """
    guess, truth = checked(guess, truth)
    height, width = truth.shape[2:]
    window = ssim_window(height, width)
    down, across = _window_matrix(height, window), _window_matrix(width, window)

    def average(images: Tensor) -> Tensor:
        return down @ images @ across.T

    parts = zip(torch.split(guess, CHUNK), torch.split(truth, CHUNK), strict=True)
    return _numpy(torch.cat([_similarity(*part, average) for part in parts]))


def _window_matrix(side: int, window: int) -> Tensor:
    """Return the Gaussian window at each place along one side of an image (places, side): the filter as a product."""
    offsets = torch.arange(window, dtype=torch.float64) - window // 2
    weights = torch.exp(-((offsets * SSIM_WINDOW / (SSIM_SIGMA * window)) ** 2) / 2)
    matrix = torch.zeros(side - window + 1, side, dtype=torch.float64)
    for place, row in enumerate(matrix):
        row[place : place + window] = weights / weights.sum()
    return matrix


def _similarity(a: Tensor, b: Tensor, average: Callable[[Tensor], Tensor]) -> Tensor:
    mean_a, mean_b = average(a), average(b)
    covariance = average(a * b) - mean_a * mean_b
    variances = average(a * a) - mean_a**2 + average(b * b) - mean_b**2
    luminance = (2 * mean_a * mean_b + SSIM_C1) / (mean_a**2 + mean_b**2 + SSIM_C1)
    return (luminance * (2 * covariance + SSIM_C2) / (variances + SSIM_C2)).flatten(1).mean(dim=1)


def identifiability(guess: Tensor, truth: Tensor) -> FloatArray:
    """Return for each guess whether the nearest of the N true images, by MSE, is the right one (N,): 1 or 0.

    Among t images that are equally near, the right one counts 1/t. The same guess for all images scores 1/N on
    average, whatever it is.
    """
    guess, truth = checked(guess, truth)
    guess, truth = guess.flatten(1), truth.flatten(1)
    right = torch.arange(len(truth))
    norms = truth.square().sum(dim=1)
    shares = []
    for part, own in zip(torch.split(guess, CHUNK), torch.split(right, CHUNK), strict=True):
        scale = part.square().sum(dim=1, keepdim=True) + norms
        distances = scale - 2 * part @ truth.T
        nearest = distances.min(dim=1, keepdim=True).values
        ties = distances <= nearest + TIE * scale
        hit = ties.gather(1, own[:, None]).squeeze(1)
        shares.append(hit / ties.sum(dim=1))
    return _numpy(torch.cat(shares))


def correct(predicted: Tensor, labels: Tensor) -> FloatArray:
    """Return for each image whether its predicted class (N,) is its label (N,): 1 or 0."""
    if predicted.shape != labels.shape or labels.ndim != 1:
        raise ValueError(f"predictions {tuple(predicted.shape)} and labels {tuple(labels.shape)} do not fit")
    return _numpy(predicted.cpu() == labels.cpu())


def checked(guess: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return guess and truth in float64 on the CPU (not every device knows float64), the guess within 0..1.

    Raises:
        ValueError: they are no images of one shape, there are none, or a value is no number.
    """
    if truth.ndim != 4 or guess.shape != truth.shape or not truth.numel():
        shapes = f"{tuple(guess.shape)} and {tuple(truth.shape)}"
        raise ValueError(f"guess and truth must be images (N, C, H, W) of one shape, at least one, not {shapes}")
    guess, truth = guess.detach().cpu().double(), truth.detach().cpu().double()
    if not guess.isfinite().all():
        raise ValueError("a guess has values that are no finite numbers")
    if not 0 <= float(truth.min()) <= float(truth.max()) <= 1:
        raise ValueError("true images must lie within 0..1")
    return guess.clamp(0, 1), truth


def _numpy(scores: Tensor) -> FloatArray:
    return np.asarray(scores.double().numpy())
