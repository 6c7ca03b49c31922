"""Clients in one-thread worker processes, with the same result as in one process."""

import logging
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import numpy as np
import torch
import torch.multiprocessing
from torch import Tensor

from dtfl_private.errors import WorkerError
from dtfl_private.protection.base import name_of
from dtfl_private.protocol.messages import State
from dtfl_private.runtime import logs
from dtfl_private.runtime.carried_states import RESULT_STATES, TASK_STATES, with_tensors, without_tensors
from dtfl_private.runtime.evaluation import chunks_of, counts_of
from dtfl_private.runtime.inside_worker import (
    evaluate_chunk,
    logits_of_chunk,
    report_ready,
    start_worker,
    train_group,
)
from dtfl_private.runtime.named_weights import global_weights, named_weights
from dtfl_private.runtime.processes import (
    how_it_ended,
    interrupts_held,
    raise_open_files_limit,
    spawn_context,
    why_refused,
)
from dtfl_private.runtime.sending import packed, require_main_file
from dtfl_private.runtime.shared_block import SharedState, share
from dtfl_private.training.state import GlobalWeights
from dtfl_private.training.tasks import ALL_TEST_IMAGES, ClientResult, ClientTask, Evaluation, ImageRange, total
from dtfl_private.training.worker import WorkerSetup

log = logging.getLogger(__name__)

# Results that may wait for the average, per worker: keeps memory independent of the number of clients.
AHEAD_PER_WORKER = 2

T = TypeVar("T")


class WorkerProcesses:
    """Worker processes of one thread each. Images and global weights are in memory that all of them share.

    Raises:
        InputError: a part of the setup cannot be sent to another process.
        WorkerError: the system has not got the memory or the processes.
    """

    def __init__(self, setup: WorkerSetup, workers: int) -> None:
        require_main_file()
        raise_open_files_limit()
        images: dict[str, Any] = {name: getattr(setup, name) for name in IMAGES}
        none: dict[str, Any] = dict.fromkeys(IMAGES, torch.empty(0))
        # Closing the sending end tells the workers to stop at once, in the middle of a task if need be.
        try:
            parcel = packed(replace(setup, **none), parts_of(setup))
            for tensor in images.values():
                share(tensor)
            shared = SharedState.holding(named_weights(setup))
            stop, self._stop = multiprocessing.Pipe(duplex=False)
            self._pool = ProcessPoolExecutor(
                workers,
                mp_context=spawn_context(),
                initializer=start_worker,
                initargs=(parcel, images, shared, stop, logs.are_shown()),
            )
        except (OSError, RuntimeError) as error:
            raise WorkerError(f"worker processes cannot be started: {why_refused(error)}") from None
        self._workers = workers
        self._shared = global_weights(shared.tensors(), setup.heads)
        self._counts = counts_of(setup)
        self._ahead = AHEAD_PER_WORKER * workers
        self._under_way = self._answered = False
        self._processes: list[BaseProcess] = []

    def start(self) -> None:
        """Start the worker processes and wait until they have all they need.

        Raises:
            InputError: they do not find what they were sent.
            WorkerError: they cannot be started, or died.
        """
        for _ in self._in_order(report_ready, [()] * self._workers):
            pass
        log.debug("started %d worker processes: %s", self._workers, [process.pid for process in self._processes])

    def train(self, tasks: Sequence[ClientTask], weights: GlobalWeights) -> Iterator[ClientResult]:
        """Yield the results in the order of the tasks."""
        yield from self.train_groups([[task] for task in tasks], weights)

    def train_groups(self, groups: Sequence[Sequence[ClientTask]], weights: GlobalWeights) -> Iterator[ClientResult]:
        """Yield the results of clients in the order of the groups, each of which is one worker's work."""
        _overwrite(self._shared.model, weights.model)
        for tier, head in weights.heads.items():
            _overwrite(self._shared.heads[tier], head)
        for results in self._in_order(
            train_group, [([without_tensors(task, TASK_STATES) for task in group],) for group in groups]
        ):
            for result in results:
                yield with_tensors(result, RESULT_STATES)

    def evaluate(self, model: State, images: ImageRange = ALL_TEST_IMAGES) -> Evaluation:
        """Judge a model on images: all of the test set, or those that are named."""
        _overwrite(self._shared.model, model)
        return total(list(self._in_order(evaluate_chunk, [(chunk,) for chunk in chunks_of(images, self._counts)])))

    def logits(self, model: State, images: ImageRange = ALL_TEST_IMAGES) -> Tensor:
        """Return what a model says of these images, (N, classes), float64."""
        _overwrite(self._shared.model, model)
        parts = self._in_order(logits_of_chunk, [(chunk,) for chunk in chunks_of(images, self._counts)])
        return torch.from_numpy(np.concatenate(list(parts)))

    def close(self) -> None:
        """Stop the worker processes; a task that is under way is abandoned."""
        if self._under_way:
            self._stop.close()
        self._pool.shutdown(cancel_futures=True)
        log.debug("worker processes have ended")

    def _in_order(self, function: Callable[..., T], arguments: Sequence[tuple[Any, ...]]) -> Iterator[T]:
        """Yield the calls' results in order, with few calls under way at any time."""
        waiting: deque[Future[T]] = deque()
        self._under_way = True
        try:
            for call in arguments:
                waiting.append(self._submitted(function, call))
                if len(waiting) >= self._ahead:
                    yield self._answer(waiting)
            while waiting:
                yield self._answer(waiting)
            self._under_way = False
        except BrokenProcessPool:
            raise WorkerError(self._how_one_died()) from None

    def _answer(self, waiting: deque[Future[T]]) -> T:
        result = waiting.popleft().result()
        self._answered = True
        return result

    def _submitted(self, function: Callable[..., T], call: tuple[Any, ...]) -> Future[T]:
        """Hand over a call; the pool starts its processes when it gets its first ones."""
        try:
            with interrupts_held():
                future = self._pool.submit(function, *call)
        except BrokenProcessPool:
            raise
        except (OSError, RuntimeError) as error:
            raise WorkerError(f"worker processes cannot be started: {why_refused(error)}") from None
        # The pool alone knows its processes, and forgets them when one dies.
        self._processes = list((self._pool._processes or {}).values())
        return future

    def _how_one_died(self) -> str:
        """Return what is known of the process that broke the pool, and what may have been the matter."""
        self._pool.shutdown()  # ends the others by SIGTERM, and waits for all
        codes = [process.exitcode for process in self._processes]
        code = next((code for code in codes if code not in (None, -signal.SIGTERM)), -signal.SIGTERM)
        died = f"a worker process died: {how_it_ended(code)}"
        if self._answered:
            return f"{died}; go on with --resume, perhaps with fewer --workers"
        guess = "" if code < 0 else "; a guess: a script that trains outside `if __name__ == '__main__':`"
        return f"{died}{guess}; use --workers 1, or mend that"


# What is in shared memory as it is, and not copied there.
IMAGES = (
    *("train_images", "train_labels", "test_images", "test_labels"),
    *("validation_images", "validation_labels"),
)


def parts_of(setup: WorkerSetup) -> dict[str, object]:
    """Return what in a setup may be the user's own, by what an error calls it."""
    defenses = {f"defense {name_of(defense)}": defense for defense in setup.defense}
    return {**defenses, "the network": setup.model, "the method": setup.work, "the data set": setup.normaliser}


def _overwrite(target: State, source: State) -> None:
    for name, tensor in source.items():
        target[name].copy_(tensor)
