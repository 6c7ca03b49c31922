"""The training images that a run uses, and the images that it is judged on."""

import numpy as np

from dtfl_private.data.dataset import Dataset
from dtfl_private.data.drawing import NONE_HELD_OUT, drawn_places, validation_places
from dtfl_private.data.validation import ValidationImages, held_by_server
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.protocol.contracts import IntArray
from dtfl_private.randomness import stream

# Of the draw of validation images: the same for all runs, whose own seeds draw from what is left.
VALIDATION_SEED = 0


def with_images_of_run(config: TrainConfig, dataset: Dataset) -> Dataset:
    """Return a data set with the training images of a run, judged on what the configuration says.

    Validation images that the server holds are drawn first, by a seed of their own; then the run's seed draws its
    training images from the others. So runs of one data set and share have the same validation images, whatever their
    seeds. Those that clients hold are still among the training images.

    Raises:
        InputError: there are not so many images, or the keys about validation images do not go together.
    """
    _require_sound(config)
    held_out, count = _held_out(config, dataset), config.max_train_images
    if count is None and not len(held_out):
        return dataset
    judged = dataset.judged_at(held_out) if config.judged_on == "validation" else dataset
    left = len(dataset.train_labels) - len(held_out)
    taken = np.union1d(held_out, _avoided(config, len(dataset.train_labels), held_out))
    return judged.with_train_images(left if count is None else count, stream(config.seed, "subset"), taken)


def _avoided(config: TrainConfig, total: int, held_out: IntArray) -> IntArray:
    """Return the places of the training images of runs that differ from this one in their seeds, and avoid none.

    Raises:
        InputError: such runs leave no image, or not as many as this one draws.
    """
    count = config.max_train_images
    if not config.train_avoids or count is None:
        return NONE_HELD_OUT
    drawn = [drawn_places(total, count, stream(seed, "subset"), held_out) for seed in config.train_avoids]
    places = np.unique(np.concatenate(drawn))
    if (left := total - len(held_out) - len(places)) < count:
        raise InputError(
            f"train_avoids leaves {left:,} of {total:,} training images, fewer than max_train_images {count:,}: "
            "lower max_train_images"
        )
    return places


def images_of_server(config: TrainConfig, dataset: Dataset) -> ValidationImages | None:
    """Return the validation images that the server of a run holds, of its whole data set; None without any."""
    held_out = _held_out(config, dataset)
    return held_by_server(dataset, held_out) if len(held_out) else None


def _require_sound(config: TrainConfig) -> None:
    """Raise `InputError` if the keys about validation images do not go together."""
    if config.validation == 0:
        for key, value in (("judged_on", "validation"), ("validation_held_by", "clients")):
            if getattr(config, key) == value:
                raise InputError(f"{key} {value} needs validation images: give validation too, as in 0.1")
        if config.patience is not None:
            raise InputError("patience needs validation images: give validation too, as in 0.1")
    if config.train_avoids and config.max_train_images is None:
        raise InputError("train_avoids leaves no image where runs train on all: give max_train_images too")
    if config.validation_held_by == "clients":
        if config.judged_on == "validation":
            raise InputError("judged_on validation needs images of the server: give validation_held_by = server")
        if config.validation_avoids:
            raise InputError("validation_avoids is for images of the server: give validation_held_by = server")


def _held_out(config: TrainConfig, dataset: Dataset) -> IntArray:
    """Return the places of a run's validation images, if the server holds them."""
    if config.validation == 0 or config.validation_held_by == "clients":
        return NONE_HELD_OUT
    count, labels = config.max_train_images, dataset.train_labels.numpy()
    if config.validation_avoids and count is None:
        raise InputError("validation_avoids leaves no image where runs train on all: give max_train_images too")
    used = [drawn_places(len(labels), count or 0, stream(seed, "subset")) for seed in config.validation_avoids]
    return validation_places(labels, config.validation, stream(VALIDATION_SEED, "validation"), used)
