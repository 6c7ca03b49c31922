"""From images or texts to predictions, in batches: what is in memory at once does not grow with their number."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dtfl_private.data.description import DataDescription
from dtfl_private.errors import InputError, RunError
from dtfl_private.experiments.trained.file_readers import FileReader, reader_for
from dtfl_private.experiments.trained.found_files import FoundFile, find_files
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


def predict(
    model: TrainedModel, images: Images, callbacks: Sequence[Callback] = (), *, tokenizer: Path | None = None
) -> Predictions:
    """Return what a trained network says of images or texts.

    Args:
        model: on the device to compute on.
        images: PNG and JPEG files (of a run on texts .txt files), or folders of them; or images as `given_images` takes
            them, with or without labels.
        callbacks: hear how many are done, of files.
        tokenizer: where the run keeps its tokenizer.json.

    Raises:
        InputError: a file that cannot be read as an image or a text, or inputs of another shape, type or range.
        RunError: the network's outputs are no numbers.
    """
    places = _places(images)
    if places is None:
        return _of_given(model, given_images(model.data, images))
    reader = reader_for(model.data, tokenizer)
    with told(callbacks) as listener:
        return _gathered(model, reader, find_files(places, model.classes, reader.kind), listener)


def predict_files(
    model: TrainedModel, reader: FileReader, found: Sequence[FoundFile], listener: Callback
) -> Iterator[tuple[Sequence[FoundFile], NDArray[np.float64], int]]:
    """Yield files in batches: which, their probabilities, and how many had to be resized though none was before.

    Raises:
        InputError: a file that cannot be read.
        RunError: the network's outputs are no numbers.
    """
    listener.job_started(JOB)
    at_once = batch_size(model.data)
    for start in range(0, len(found), at_once):
        batch = found[start : start + at_once]
        inputs, resized = reader.read([one.path for one in batch])
        yield batch, _probabilities(model, inputs, str(batch[0].path)), resized
        listener.job_advanced(JOB, start + len(batch), len(found))
    listener.job_finished(JOB)


def _gathered(model: TrainedModel, reader: FileReader, found: Sequence[FoundFile], listener: Callback) -> Predictions:
    batches = list(predict_files(model, reader, found, listener))
    return Predictions(
        classes=model.classes,
        probabilities=np.concatenate([probabilities for _, probabilities, _ in batches]),
        files=[one.path for one in found],
        true_labels=true_labels(found),
        resized=sum(resized for *_, resized in batches),
    )


def true_labels(found: Sequence[FoundFile]) -> NDArray[np.int64]:
    """Return the classes that the files' folders are named as, -1 where they are named as none."""
    return np.array([UNKNOWN if one.label is None else one.label for one in found], dtype=np.int64)


def _of_given(model: TrainedModel, given: GivenImages) -> Predictions:
    batches = torch.split(given.inputs, batch_size(model.data))
    probabilities = np.concatenate([_probabilities(model, batch, "the inputs") for batch in batches])
    return Predictions(classes=model.classes, probabilities=probabilities, files=None, true_labels=given.labels)


def _probabilities(model: TrainedModel, inputs: Tensor, what: str) -> NDArray[np.float64]:
    if model.network.vocabulary is not None:
        raise InputError("this network says which token comes next, and tells no classes apart: call it on tokens")
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
