"""Images that a program holds, as it would give them to `train`, made the inputs of a trained network."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dtfl_private.data.description import DataDescription
from dtfl_private.data.files.pixels import MAX_DECODED_BYTES
from dtfl_private.data.own_parts import PartReader, is_array
from dtfl_private.data.own_pixels import image_of
from dtfl_private.errors import InputError
from dtfl_private.experiments.trained.predictions import UNKNOWN
from dtfl_private.protocol.contracts import IntArray


@dataclass(frozen=True, kw_only=True)
class GivenImages:
    """Inputs of a network (N, ...), and their true labels, int64 (N,), -1 where nobody told."""

    inputs: Tensor
    labels: IntArray


def given_images(data: DataDescription, images: Any) -> GivenImages:
    """Return what a program gives as inputs.

    Args:
        data: what the network takes.
        images: an array or a tensor, (N, C, H, W), (N, H, W, C) or, if grey, (N, H, W), or one of them; a PIL image, or
            a list of images; or with labels all that `as_dataset` takes as training images.

    Raises:
        InputError: something else, images of different shapes, or a label that is no class of the network.
    """
    if is_array(images):
        return _unlabelled(_arranged(_as_tensor(images), data))
    if data.kind != "images":
        raise InputError(f"{data.kind} are a {type(images).__name__}, expected a tensor or an array")
    if isinstance(images, Image.Image):
        images = [images]
    if isinstance(images, list) and images:
        if _is_image(images[0]):
            return _unlabelled(_arranged(torch.from_numpy(_stacked(images)), data))
        _require_pairs(images)
    part = PartReader(channels=None, columns=None).part(images, "given")
    if (most := int(part.labels.max())) >= len(data.classes):
        raise InputError(f"the given labels reach {most}, and the network has the classes 0 to {len(data.classes) - 1}")
    return GivenImages(inputs=_arranged(torch.from_numpy(part.pixels), data), labels=part.labels)


def _unlabelled(inputs: Tensor) -> GivenImages:
    return GivenImages(inputs=inputs, labels=np.full(len(inputs), UNKNOWN, dtype=np.int64))


def _is_image(thing: object) -> bool:
    return isinstance(thing, Image.Image) or is_array(thing)


def _require_pairs(images: Sequence[object]) -> None:
    """Raise `InputError` where a list begins with neither a pair nor an image; names alone are no concern of this."""
    if not isinstance(images[0], tuple | list):
        other = next((item for item in images if not isinstance(item, str | Path)), images[0])
        kind = type(other).__name__
        raise InputError(f"images are a list with a {kind}, expected images, pairs (image, label), or names of files")


def _stacked(images: Sequence[object]) -> NDArray[np.uint8]:
    """Return images as uint8 (N, C, H, W)."""
    first, _ = image_of(images[0], "image 0", None)
    if len(images) * first.size > MAX_DECODED_BYTES:
        raise InputError(f"{len(images):,} images take more than {MAX_DECODED_BYTES:,} bytes: give them in parts")
    made = np.empty((len(images), *first.shape), dtype=np.uint8)
    for place, image in enumerate(images):
        pixels, _ = image_of(image, f"image {place}", None)
        if pixels.shape != first.shape:
            shapes = " and ".join("x".join(map(str, shape)) for shape in (first.shape, pixels.shape))
            raise InputError(f"images 0 and {place} differ in shape ({shapes}): resize them to one size")
        made[place] = pixels
    return made


def _as_tensor(images: Any) -> Tensor:
    if isinstance(images, Tensor):
        return images
    try:
        return torch.from_numpy(np.require(images, requirements=["C", "W"]))
    except TypeError:
        raise InputError(f"images are an array of {images.dtype}, expected uint8 or floating-point values") from None


def _arranged(inputs: Tensor, data: DataDescription) -> Tensor:
    """Return inputs as (N, ...): a single one gets the first axis, channels become the second; else as they are."""
    wanted, shape = tuple(data.input_shape), tuple(inputs.shape)
    if shape == wanted:
        return inputs[None]
    if shape[1:] == wanted or data.kind != "images":
        return inputs
    channels, *size = wanted
    if shape[-3:] == (*size, channels) and inputs.ndim in (3, 4):
        return _arranged(inputs.movedim(-1, -3), data)
    if channels == 1 and shape[-2:] == (*size,) and inputs.ndim in (2, 3):
        return _arranged(inputs.unsqueeze(-3), data)
    return inputs
