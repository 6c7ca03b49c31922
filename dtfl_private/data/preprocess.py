"""Stored inputs to network inputs: images are augmented, scaled and normalised, tokens are left as they are."""

from collections.abc import Sequence
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dtfl_private.data.dataset import Dataset, ImageDataset
from dtfl_private.data.pixel_sums import clients_sums, pooled_scale
from dtfl_private.errors import InputError


def unit(images_u8: Tensor) -> Tensor:
    """Return uint8 images as float32 in [0, 1]."""
    return images_u8.float() / 255


def plain(stored: Tensor) -> Tensor:
    """Return stored inputs as people and adversaries handle them: images in [0, 1], sequences of tokens as int64."""
    return stored.long() if stored.ndim == 2 else unit(stored)


def as_stored(inputs: Tensor) -> Tensor:
    """Return inputs as a `Preprocessor` takes them: images in [0, 1] times 255; tokens as they are. Differentiable."""
    return inputs * 255 if inputs.is_floating_point() else inputs


class Preprocessor(Protocol):
    """From a batch of stored uint8 inputs to what the network takes."""

    def to(self, device: str) -> Self:
        """Move constants to a device, in place, and return self."""
        ...

    def __call__(self, inputs_u8: Tensor) -> Tensor:
        """Return the network's inputs."""
        ...


def require_augmentable(dataset: Dataset, names: Sequence[str]) -> None:
    """Refuse augmentations of anything but images.

    Raises:
        InputError: augmentations are asked for, and the data are no images.
    """
    if names and not isinstance(dataset, ImageDataset):
        raise InputError(f"augment {','.join(names)} changes images; {dataset.name} holds {dataset.WORD}: leave it out")


class AsTheyAre:
    """Tokens need no scaling: the network's embedding takes their numbers."""

    def to(self, device: str) -> Self:
        """Return self."""
        return self

    def __call__(self, inputs_u8: Tensor) -> Tensor:
        """Return the numbers, int64."""
        return inputs_u8.long()


class Normaliser:
    """Scale uint8 images to [0, 1] and normalise each channel; all in float32 (B, C, H, W).

    Attributes:
        mean_C: per channel, of pixels scaled to [0, 1], float64 on the CPU.
        deviation_C: likewise, the standard deviation.
    """

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        self.mean_C, self.deviation_C = mean.double().cpu(), deviation.double().cpu()
        # One multiplication and one addition: (u8/255 - mean)/deviation.
        self._factor = (1 / (255 * deviation)).float().view(1, -1, 1, 1)
        self._shift = (-mean / deviation).float().view(1, -1, 1, 1)

    @classmethod
    def of(cls, dataset: ImageDataset) -> "Normaliser":
        """Return the normaliser by mean and standard deviation of all training images together."""
        everybody = np.arange(len(dataset.train_images))
        return cls(*pooled_scale(clients_sums(dataset.train_images, [everybody])))

    @classmethod
    def constant(cls, dataset: ImageDataset) -> "Normaliser":
        """Return the normaliser with 0.5 as mean and deviation of every channel, whatever the images."""
        half = torch.full((dataset.input_shape[0],), 0.5, dtype=torch.float64)
        return cls(half, half)

    def to(self, device: str) -> Self:
        """Move the constants to a device, in place, and return self."""
        self._factor, self._shift = self._factor.to(device), self._shift.to(device)
        return self

    def __call__(self, inputs_u8: Tensor) -> Tensor:
        """Return normalised images."""
        return torch.addcmul(self._shift, inputs_u8.float(), self._factor)


def augment(images_u8: Tensor, names: Sequence[str], generator: torch.Generator) -> Tensor:
    """Return randomly altered copies of a batch of uint8 images (B, C, H, W); chance comes from ``generator`` (CPU).

    crop: pad by an eighth of the side with zeros and cut a random window of the old size.
    flip: mirror left and right with probability one half.
    cutout: black out a square of a quarter of the side at a random place (DeVries and Taylor 2017, 1708.04552).
    """
    if "crop" in names:
        images_u8 = _crop(images_u8, generator)
    if "flip" in names:
        images_u8 = _flip(images_u8, generator)
    if "cutout" in names:
        images_u8 = _cutout(images_u8, generator)
    return images_u8


def _draw(high: int, count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    return torch.randint(high, (count,), generator=generator).to(device)


def _crop(images: Tensor, generator: torch.Generator) -> Tensor:
    batch, _, height, width = images.shape
    pad = max(1, height // 8)
    padded = F.pad(images, (pad, pad, pad, pad))
    top = _draw(2 * pad + 1, batch, generator, images.device)
    left = _draw(2 * pad + 1, batch, generator, images.device)
    rows = top[:, None] + torch.arange(height, device=images.device)
    columns = left[:, None] + torch.arange(width, device=images.device)
    index = torch.arange(batch, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _flip(images: Tensor, generator: torch.Generator) -> Tensor:
    mirrored = _draw(2, len(images), generator, images.device).bool()
    return torch.where(mirrored[:, None, None, None], images.flip(-1), images)


def _cutout(images: Tensor, generator: torch.Generator) -> Tensor:
    batch, _, height, width = images.shape
    side = max(1, height // 4)
    top = _draw(height - side + 1, batch, generator, images.device)[:, None]
    left = _draw(width - side + 1, batch, generator, images.device)[:, None]
    row, column = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    hole = ((row >= top) & (row < top + side))[:, :, None] & ((column >= left) & (column < left + side))[:, None, :]
    return images.masked_fill(hole[:, None], 0)
