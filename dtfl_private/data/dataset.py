"""A data set of images in memory: uint8, decoded once, held once."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dtfl_private.errors import InputError
from dtfl_private.plugins import create


@dataclass(frozen=True, kw_only=True)
class ImageDataset:
    """Labelled images, split into training and test.

    train_images, test_images: uint8 (N, channels, height, width).
    train_labels, test_labels: int64 (N,), values 0..len(classes)-1.
    source: where the images come from, for people and for the run folder.
    """

    name: str
    source: str
    classes: tuple[str, ...]
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            images, labels = getattr(self, f"{part}_images"), getattr(self, f"{part}_labels")
            if images.dtype != torch.uint8 or images.ndim != 4:
                raise InputError(f"{self.name}: {part} images must be uint8 (N, C, H, W), not {_kind(images)}")
            if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
                raise InputError(f"{self.name}: {part} labels must be int64 ({len(images)},), not {_kind(labels)}")
            if len(labels) == 0:
                raise InputError(f"{self.name}: no {part} images")
            if int(labels.min()) < 0 or int(labels.max()) >= len(self.classes):
                raise InputError(f"{self.name}: {part} labels must lie in 0..{len(self.classes) - 1}")
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            raise InputError(f"{self.name}: training and test images differ in shape")

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape of one image: channels, height, width."""
        _, channels, height, width = self.train_images.shape
        return channels, height, width

    def fingerprint(self) -> str:
        """Return the SHA-256 of all images and labels."""
        digest = hashlib.sha256()
        for tensor in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(str(tuple(tensor.shape)).encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def with_train_images(self, count: int, rng: np.random.Generator) -> "ImageDataset":
        """Return the same data set with ``count`` randomly drawn training images."""
        if count > len(self.train_labels):
            raise InputError(
                f"max_train_images {count} is more than the {len(self.train_labels)} training images of {self.name}"
            )
        chosen = torch.from_numpy(np.sort(rng.permutation(len(self.train_labels))[:count]))
        return replace(self, train_images=self.train_images[chosen], train_labels=self.train_labels[chosen])

    def channel_statistics(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation per channel of the training images scaled to [0, 1], float64 (C,)."""
        # A histogram of the 256 values is exact and needs no floating-point copy of the images.
        values = torch.arange(256, dtype=torch.float64) / 255
        means, deviations = [], []
        for channel in range(self.train_images.shape[1]):
            counts = torch.bincount(self.train_images[:, channel].flatten(), minlength=256).double()
            share = counts / counts.sum()
            mean = (share * values).sum()
            means.append(mean)
            deviations.append((share * (values - mean) ** 2).sum().sqrt())
        return torch.stack(means), torch.stack(deviations).clamp_min(1e-6)


def load_dataset(text: str, *, data_dir: Path | None, download: bool) -> ImageDataset:
    """Load the data set that a specification names (``NAME[:key=value,...]``)."""
    dataset = create("dataset", text, data_dir=data_dir, download=download)
    if not isinstance(dataset, ImageDataset):
        raise InputError(f"data set '{text}' returned a {type(dataset).__name__} instead of an ImageDataset")
    return dataset


def _kind(tensor: Tensor) -> str:
    return f"{tensor.dtype} {tuple(tensor.shape)}"
