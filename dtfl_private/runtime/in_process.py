"""Clients one after the other, in this process."""

from collections.abc import Iterator, Sequence

from dtfl_private.protocol.messages import MessageObserver, State
from dtfl_private.runtime.evaluation import chunks_of
from dtfl_private.training.state import GlobalWeights
from dtfl_private.training.tasks import ClientResult, ClientTask, Evaluation, total
from dtfl_private.training.worker import Worker, WorkerSetup


class InProcess:
    """One worker in this process."""

    def __init__(self, setup: WorkerSetup, observers: Sequence[MessageObserver] = ()) -> None:
        self._worker = Worker(setup, observers)
        self._work = setup.work
        self._images = len(setup.test_labels)

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

    def evaluate(self, model: State, share: tuple[int, int] = (0, 1)) -> Evaluation:
        """Judge a model on the test set, or on its images i, i + n, i + 2n, ... with ``share=(i, n)``."""
        chunks = chunks_of(self._images, share)
        return total([self._worker.evaluate(start, stop, model, step) for start, stop, step in chunks])

    def close(self) -> None:
        """Nothing to release."""
