"""The data of a run: images, who holds them, and how they are normalised."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dtfl_private.data.dataset import Dataset
from dtfl_private.data.normalization import Normalization
from dtfl_private.data.preprocess import require_augmentable
from dtfl_private.data.registration import resolved_normalization
from dtfl_private.data.validation import ValidationImages
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.partition import dealt
from dtfl_private.experiments.setup.held_data import HeldData
from dtfl_private.protocol.contracts import IntArray


@dataclass(frozen=True, kw_only=True)
class RunInputs:
    """The data of a run.

    Attributes:
        dataset: of the run.
        parts: each client's indices of training images.
        normalization: how images are scaled.
        validation: images that no client trains on; None without any.
        drawn: training images that were drawn before clients kept any of them back.
        images_K: training images of each client, also of those whose images are on another machine.
    """

    dataset: Dataset
    parts: Sequence[IntArray]
    normalization: Normalization
    validation: ValidationImages | None
    drawn: int
    images_K: IntArray

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.dataset.classes)


def load_inputs(config: TrainConfig, dataset: Dataset | None, *, pooled: bool) -> RunInputs:
    """Return the data of a run.

    Args:
        config: names the data set, the partition, the augmentations and the normalisation.
        dataset: used instead of the one that the configuration names.
        pooled: whether the method has all images at one place.

    Raises:
        InputError: the data are absent or damaged, or cannot be dealt out or altered in this way.
    """
    whole = dealt(config, dataset)
    dataset, parts, validation = whole.dataset, whole.parts, whole.validation
    require_augmentable(dataset, config.augment)
    normalization = resolved_normalization(Normalization.parse(config.normalization), dataset)
    if pooled:
        parts = [np.sort(np.concatenate(parts))]
        validation = validation and replace(validation, owned={})
    return RunInputs(
        dataset=dataset,
        parts=parts,
        normalization=normalization,
        validation=validation,
        drawn=whole.drawn,
        images_K=np.array([len(part) for part in parts]),
    )


def held_inputs(config: TrainConfig, held: HeldData) -> RunInputs:
    """Return the data of a run as one machine of a federation has them.

    Raises:
        InputError: they cannot be altered as the configuration says, or normalised.
    """
    require_augmentable(held.dataset, config.augment)
    return RunInputs(
        dataset=held.dataset,
        parts=held.parts,
        normalization=resolved_normalization(Normalization.parse(config.normalization), held.dataset),
        validation=None,
        drawn=int(held.images_K.sum()),
        images_K=held.images_K,
    )
