"""Partition: who gets which images, as a training run would deal them out."""

import logging
import time
from dataclasses import dataclass

import numpy as np

from dtfl_private.data.dataset import Dataset, load_dataset
from dtfl_private.data.partition import deal_out
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.run_images import with_images_of_run
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


def dealt(config: TrainConfig, dataset: Dataset | None = None) -> tuple[Dataset, list[IntArray]]:
    """Return the training images that a run uses, and the indices of each client's.

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
    dataset = with_images_of_run(config, dataset)
    ids = None if dataset.client_ids is None else dataset.client_ids.numpy()
    labels, rng = dataset.train_labels.numpy(), stream(config.seed, "partition")
    return dataset, deal_out(config.partition, labels, config.clients, rng, ids, allowed=config.allowed)


def partition(config: TrainConfig, dataset: Dataset | None = None) -> Distribution:
    """Return how a run of this configuration spreads the labels over its clients. Arguments as those of `dealt`."""
    dataset, parts = dealt(config, dataset)
    labels, classes = dataset.train_labels.numpy(), len(dataset.classes)
    counts_KC = np.stack([np.bincount(labels[part], minlength=classes) for part in parts])
    return Distribution(classes=dataset.classes, counts_KC=counts_KC, notes=dataset.notes)
