"""Clients one after the other, in this process."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from dtfl_private.protocol.messages import MessageObserver, State
from dtfl_private.runtime.evaluation import chunks_of, counts_of
from dtfl_private.training.state import GlobalWeights
from dtfl_private.training.tasks import ALL_TEST_IMAGES, ClientResult, ClientTask, Evaluation, ImageRange, total
from dtfl_private.training.worker import Worker, WorkerSetup


class InProcess:
    """One worker in this process."""

    def __init__(self, setup: WorkerSetup, observers: Sequence[MessageObserver] = ()) -> None:
        self._worker = Worker(setup, observers)
        self._work = setup.work
        self._counts = counts_of(setup)

    def start(self) -> None:
        """Do nothing: it is ready."""

    def train(self, tasks: Sequence[ClientTask], weights: GlobalWeights) -> Iterator[ClientResult]:
        """Yield the results in the order of the tasks."""
        for task in tasks:
            yield from self._work.train(self._worker, [task], weights)

    def train_groups(self, groups: Sequence[Sequence[ClientTask]], weights: GlobalWeights) -> Iterator[ClientResult]:
        """Yield the results of clients in the order of the groups, each of which shares one server network."""
        for group in groups:
            yield from self._work.train(self._worker, group, weights)

    def evaluate(self, model: State, images: ImageRange = ALL_TEST_IMAGES) -> Evaluation:
        """Judge a model on images: all of the test set, or those that are named."""
        return total([self._worker.evaluate(model, chunk) for chunk in chunks_of(images, self._counts)])

    def logits(self, model: State, images: ImageRange = ALL_TEST_IMAGES) -> Tensor:
        """Return what a model says of these images, (N, classes), float64."""
        return torch.cat([self._worker.logits(model, chunk) for chunk in chunks_of(images, self._counts)])

    def close(self) -> None:
        """Nothing to release."""
