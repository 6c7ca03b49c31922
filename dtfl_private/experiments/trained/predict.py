"""From images to predictions, in batches: what is in memory at once does not grow with the number of images."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dtfl_private.data.description import DataDescription
from dtfl_private.data.files.pixels import PixelFormat, decode_noting
from dtfl_private.errors import RunError
from dtfl_private.experiments.trained.found_images import FoundImage, find_images
from dtfl_private.experiments.trained.given_images import GivenImages, given_images
from dtfl_private.experiments.trained.predictions import UNKNOWN, Predictions
from dtfl_private.experiments.trained.trained_model import TrainedModel
from dtfl_private.runtime.callback import Callback, told
from dtfl_private.runtime.evaluation import EVALUATION_BATCH

Images: TypeAlias = "Tensor | NDArray[np.generic] | Path | str | Sequence[Any] | Any"
"""What may be predicted: inputs, (N, ...) or a single one; a file, a folder, or several of either; a data set."""

# Values of all inputs of a batch, at most; as many images as the run judges at once, if they are small.
BATCH_VALUES = 2**24

JOB = "predict"


def batch_size(data: DataDescription) -> int:
    """Return how many inputs are predicted at once."""
    return max(1, min(EVALUATION_BATCH, BATCH_VALUES // math.prod(data.input_shape)))


def predict(model: TrainedModel, images: Images, callbacks: Sequence[Callback] = ()) -> Predictions:
    """Return what a trained network says of images.

    Args:
        model: on the device to compute on.
        images: PNG and JPEG files, or folders of them; or images as `given_images` takes them, with or without labels.
        callbacks: hear how many images are done, of files.

    Raises:
        InputError: a file that cannot be read as an image, or inputs of another shape, type or range.
        RunError: the network's outputs are no numbers.
    """
    places = _places(images)
    if places is None:
        return _of_given(model, given_images(model.data, images))
    model.data.require_image_files()
    with told(callbacks) as listener:
        return _gathered(model, find_images(places, model.classes), listener)


def predict_files(
    model: TrainedModel, found: Sequence[FoundImage], listener: Callback
) -> Iterator[tuple[Sequence[FoundImage], NDArray[np.float64], int]]:
    """Yield image files in batches: which, their probabilities, and how many had to be resized though none was before.

    Raises:
        InputError: a file that cannot be read as an image.
        RunError: the network's outputs are no numbers.
    """
    treatment = model.data.require_image_files()
    _, height, width = model.data.input_shape
    target = PixelFormat(size=(width, height), grey=treatment.colour == "grey", background=treatment.background)
    listener.job_started(JOB)
    at_once = batch_size(model.data)
    for start in range(0, len(found), at_once):
        batch = found[start : start + at_once]
        pixels = np.empty((len(batch), *model.data.input_shape), dtype=np.uint8)
        resized = 0
        for place, image in enumerate(batch):
            decoded = decode_noting(image.path, target)
            pixels[place] = decoded.pixels
            resized += decoded.resized and not treatment.resized
        yield batch, _probabilities(model, torch.from_numpy(pixels), str(batch[0].path)), resized
        listener.job_advanced(JOB, start + len(batch), len(found))
    listener.job_finished(JOB)


def _gathered(model: TrainedModel, found: Sequence[FoundImage], listener: Callback) -> Predictions:
    batches = list(predict_files(model, found, listener))
    return Predictions(
        classes=model.classes,
        probabilities=np.concatenate([probabilities for _, probabilities, _ in batches]),
        files=[image.path for image in found],
        true_labels=true_labels(found),
        resized=sum(resized for *_, resized in batches),
    )


def true_labels(found: Sequence[FoundImage]) -> NDArray[np.int64]:
    """Return the classes that the images' folders are named as, -1 where they are named as none."""
    return np.array([UNKNOWN if image.label is None else image.label for image in found], dtype=np.int64)


def _of_given(model: TrainedModel, given: GivenImages) -> Predictions:
    batches = torch.split(given.inputs, batch_size(model.data))
    probabilities = np.concatenate([_probabilities(model, batch, "the inputs") for batch in batches])
    return Predictions(classes=model.classes, probabilities=probabilities, files=None, true_labels=given.labels)


def _probabilities(model: TrainedModel, inputs: Tensor, what: str) -> NDArray[np.float64]:
    with torch.no_grad():  # in float64, where no two logits become one probability
        found: NDArray[np.float64] = model(inputs).cpu().double().softmax(dim=1).numpy()
    if not np.isfinite(found).all():
        raise RunError(f"the network's outputs for {what} are no finite numbers: its weights are of no use")
    return found


def _places(images: object) -> list[Path | str] | None:
    """Return names of files and folders; None where images themselves are given."""
    if isinstance(images, str | Path):
        return [images]
    if isinstance(images, list | tuple) and all(isinstance(place, str | Path) for place in images):
        return list(images)
    return None
