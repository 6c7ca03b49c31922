"""Partition: who gets which images, as a training run would deal them out."""

import logging
import time
from dataclasses import dataclass

import numpy as np

from dtfl_private.data.dataset import Dataset, load_dataset
from dtfl_private.data.partition import class_counts, deal_out
from dtfl_private.data.validation import ValidationImages, held_back
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.run_images import images_of_server, with_images_of_run
from dtfl_private.protocol.contracts import FloatArray, IntArray
from dtfl_private.randomness import stream

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """How labels are spread over clients.

    classes: their names.
    counts_KC: training images per client and class.
    notes: what a user should know of how the data were read.
    """

    classes: tuple[str, ...]
    counts_KC: IntArray
    notes: tuple[str, ...] = ()

    @property
    def sizes_K(self) -> IntArray:
        """Images per client."""
        return np.asarray(self.counts_KC.sum(axis=1))

    @property
    def effective_classes_K(self) -> FloatArray:
        """Return exp(entropy) of each client's labels: 1 with a single class, C with C classes alike."""
        shares_KC = self.counts_KC / self.sizes_K[:, None]
        logs_KC = np.log(shares_KC, where=shares_KC > 0, out=np.zeros_like(shares_KC))
        return np.asarray(np.exp(-(shares_KC * logs_KC).sum(axis=1)))

    @property
    def distance_K(self) -> FloatArray:
        """Return the total-variation distance of each client's label shares to those of all images, 0..1."""
        shares_KC = self.counts_KC / self.sizes_K[:, None]
        whole_C = self.counts_KC.sum(axis=0) / self.counts_KC.sum()
        return np.asarray(0.5 * np.abs(shares_KC - whole_C).sum(axis=1))


@dataclass(frozen=True, kw_only=True)
class Dealt:
    """Who holds which images.

    Attributes:
        dataset: with the images that the run trains on, and those that it is judged on.
        parts: indices of each client's training images in it.
        validation: images that no client trains on; None without any.
        drawn: training images that were drawn before clients kept any of them back.
    """

    dataset: Dataset
    parts: list[IntArray]
    validation: ValidationImages | None
    drawn: int


def dealt(config: TrainConfig, dataset: Dataset | None = None) -> Dealt:
    """Return the images that a run uses, and whose they are.

    Args:
        config: names the data set, the partition, the clients and the seed.
        dataset: used instead of the one that the configuration names.

    Raises:
        InputError: the data are absent or damaged, or cannot be dealt out in this way.
    """
    if dataset is None:
        began_s = time.monotonic()
        dataset = load_dataset(
            config.dataset, data_dir=config.data_dir, download=config.download, allowed=config.allowed
        )
        log.debug("loaded data set %s in %.2f s", config.dataset, time.monotonic() - began_s)
    whole, dataset = dataset, with_images_of_run(config, dataset)
    ids = None if dataset.client_ids is None else dataset.client_ids.numpy()
    labels, rng = dataset.train_labels.numpy(), stream(config.seed, "partition")
    parts = deal_out(config.partition, labels, config.clients, rng, ids, allowed=config.allowed)
    if config.validation_held_by == "clients":
        left, parts, validation = held_back(dataset, parts, config.validation, config.seed)
        return Dealt(dataset=left, parts=parts, validation=validation, drawn=len(labels))
    validation_images = images_of_server(config, whole)
    return Dealt(dataset=dataset, parts=parts, validation=validation_images, drawn=len(labels))


def partition(config: TrainConfig, dataset: Dataset | None = None) -> Distribution:
    """Return how a run of this configuration spreads the labels over its clients. Arguments as those of `dealt`."""
    whole = dealt(config, dataset)
    names = whole.dataset.classes
    return Distribution(
        classes=names,
        counts_KC=class_counts(whole.dataset.train_labels.numpy(), whole.parts, len(names)),
        notes=whole.dataset.notes,
    )
