"""Data that a program holds, made a data set: torch data sets, Hugging Face data sets, NumPy arrays and tensors."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dtfl_private.data.dataset import Dataset, ImageDataset
from dtfl_private.data.drawing import validation_places
from dtfl_private.data.own_labels import class_names, labels_of
from dtfl_private.data.own_parts import PartReader, is_array
from dtfl_private.data.own_pixels import Channels
from dtfl_private.errors import InputError
from dtfl_private.printable import short_name
from dtfl_private.protocol.contracts import IntArray
from dtfl_private.randomness import stream

if TYPE_CHECKING:
    from torch import Tensor


def as_dataset(
    train: object,
    test: object = None,
    *,
    classes: Sequence[str] | None = None,
    name: str = "own data",
    channels: Channels | None = None,
    columns: tuple[str, str] | None = None,
    client_ids: object = None,
    test_share: float = 0.2,
    seed: int = 0,
) -> ImageDataset:
    """Return images that a program holds as a data set, after checking all of them.

    Training and test images are each a pair ``(images, labels)`` of arrays or tensors, a map-style
    ``torch.utils.data.Dataset`` of ``(image, label)``, or a Hugging Face dataset with an image and a class label. An
    image is (H, W), (H, W, C) or (C, H, W) with whole numbers from 0 to 255 or floats from 0 to 1, or a PIL image; not
    normalised, and without random transforms. A label is a whole number from 0.

    Args:
        train: training images, or training and test images as a mapping of ``train`` and ``test``.
        test: test images; None takes a share of each class of the training images.
        classes: names; by default what the data say, or numbers.
        name: of the data set, for people.
        channels: ``first`` or ``last``, where the shape does not tell.
        columns: of a Hugging Face dataset, image and label; by default the only ones of their kind.
        client_ids: whole numbers (N,), to whom each training image belongs, for the partition ``natural``.
        test_share: share of the images that are test images, where none are given.
        seed: of the draw of these.

    Raises:
        InputError: something else; nothing is guessed.
    """
    notes: list[str] = []
    if test is None and isinstance(train, Mapping):
        train, test, notes = _of_splits(train)
    read = PartReader(channels=channels, columns=columns)
    training = read.part(train, "training")
    ids = None if client_ids is None else labels_of(client_ids, "client ids", len(training.labels))
    if test is None:
        kept, held = _split(training.labels, test_share, seed)
        notes.append(
            f"no test images were given: {len(held):,} of {len(training.labels):,} images, each class in its "
            f"proportion, are the test images (seed {seed})"
        )
        parts = [(training.pixels[at], training.labels[at]) for at in (kept, held)]
        ids = None if ids is None else ids[kept]
        testing = training
    else:
        testing = read.part(test, "test")
        if training.classes and testing.classes and [*training.classes] != [*testing.classes]:
            raise InputError("training and test images name different classes: give both the same, in one order")
        parts = [(training.pixels, training.labels), (testing.pixels, testing.labels)]
    if training.rounded or testing.rounded:
        notes.append("images are held in 256 levels: floats between them were rounded")
    known = training.classes if classes is None else classes
    (train_images, train_labels), (test_images, test_labels) = [tuple(map(_tensor, part)) for part in parts]
    return ImageDataset(
        name=short_name(name),
        source=f"passed by a program: {training.kind}",
        classes=class_names(known, [labels for _, labels in parts]),
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        client_ids=None if ids is None else _tensor(ids),
        notes=tuple(notes),
    )


def given_dataset(data: object) -> Dataset | None:
    """Return what `train`, `attack` and `audit` take as their data, as a data set; None stays None.

    A pair of arrays is images and labels; another pair is training and test images.

    Raises:
        InputError: it is no data; see `as_dataset`.
    """
    if data is None or isinstance(data, Dataset):
        return data
    if isinstance(data, tuple) and len(data) == 2 and not is_array(data[0]):
        return as_dataset(*data)
    return as_dataset(data)


def _tensor(array: Any) -> "Tensor":
    import torch

    return torch.from_numpy(np.ascontiguousarray(array))


def _of_splits(splits: Mapping[Any, object]) -> tuple[object, object, list[str]]:
    """Return the training and the test images of a mapping by split, and what to say of the others."""
    if "train" not in splits:
        raise InputError(f"the data have the splits {', '.join(map(str, splits))}: expected train, and test")
    others = [str(name) for name in splits if name not in ("train", "test")]
    left_out = [f"left out: {', '.join(map(short_name, others))}"] if others else []
    return splits["train"], splits.get("test"), left_out


def _split(labels: IntArray, share: float, seed: int) -> tuple[IntArray, IntArray]:
    """Return the places of training and of test images."""
    count = len(labels)
    if not 0 < share < 1 or not 0 < round(share * count) < count:
        raise InputError(f"test_share {share:g} of {count:,} images: some, not all, must be left; or give test images")
    held = validation_places(labels, share, stream(seed, "test"))
    return np.setdiff1d(np.arange(count), held), held
