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
    """

    dataset: Dataset
    parts: Sequence[IntArray]
    normalization: Normalization
    validation: ValidationImages | None
    drawn: int

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.dataset.classes)

    @property
    def images_K(self) -> IntArray:
        """Training images per client."""
        return np.array([len(part) for part in self.parts])


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
        dataset=dataset, parts=parts, normalization=normalization, validation=validation, drawn=whole.drawn
    )
