"""Who runs the clients of a round: this process, worker processes, a cluster."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from torch import Tensor

from dtfl_private.protocol.messages import State
from dtfl_private.training.state import GlobalWeights
from dtfl_private.training.tasks import ALL_TEST_IMAGES, ClientResult, ClientTask, Evaluation, ImageRange


class Executor(Protocol):
    """Runs the clients of a round somewhere: in this process, in worker processes, on a cluster.

    It is opened before the first round and closed after the last.
    """

    def start(self) -> None:
        """Start what works, and wait until it is ready; without it, it is started when it is needed."""
        ...

    def train(self, tasks: Sequence[ClientTask], weights: GlobalWeights) -> Iterator[ClientResult]:
        """Yield the results in the order of the tasks."""
        ...

    def train_groups(self, groups: Sequence[Sequence[ClientTask]], weights: GlobalWeights) -> Iterator[ClientResult]:
        """Yield the results of clients in the order of the groups, each of which shares one server network."""
        ...

    def evaluate(self, model: State, images: ImageRange = ALL_TEST_IMAGES) -> Evaluation:
        """Judge a model on images: all of the test set, or those that are named."""
        ...

    def logits(self, model: State, images: ImageRange = ALL_TEST_IMAGES) -> Tensor:
        """Return what a model says of these images, (N, classes), float64."""
        ...

    def close(self) -> None:
        """Release processes and memory."""
        ...
