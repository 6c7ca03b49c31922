"""Executors: the clients of a round in this process, or in one-thread worker processes, with the same result."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol, TypeVar

import safetensors.torch
import torch
import torch.multiprocessing

from dtfl_private.errors import InputError, WorkerError
from dtfl_private.federated.worker import (
    ClientResult,
    ClientTask,
    Evaluation,
    GlobalWeights,
    Worker,
    WorkerSetup,
)
from dtfl_private.messages import MessageObserver, State, below
from dtfl_private.runtime.allocator import tune_allocator

# Test images judged at once: a fixed number, so that sums are the same wherever they are computed.
EVALUATION_BATCH = 500

# Results that may wait for the average, per worker: keeps memory independent of the number of clients.
AHEAD_PER_WORKER = 2

T = TypeVar("T")
C = TypeVar("C", ClientTask, ClientResult)


class RunExecutor(Protocol):
    """An executor that a run opens and closes."""

    def train(self, tasks: Sequence[ClientTask], weights: GlobalWeights) -> Iterator[ClientResult]:
        """Yield the results in the order of the tasks."""
        ...

    def train_together(self, tasks: Sequence[ClientTask], weights: GlobalWeights) -> Iterator[ClientResult]:
        """Yield the results of clients that share one server network, in the order of the tasks."""
        ...

    def evaluate(self, model: State, share: tuple[int, int] = (0, 1)) -> Evaluation:
        """Judge a model on the test set, or on its images i, i + n, i + 2n, ... with ``share=(i, n)``."""
        ...

    def close(self) -> None:
        """Release processes and memory."""
        ...


def open_executor(setup: WorkerSetup, workers: int, observers: Sequence[MessageObserver] = ()) -> RunExecutor:
    """Return an executor with this many workers; one works in this process.

    Raises:
        InputError: observers with more than one worker: they live in this process and would miss the messages.
    """
    if workers == 1:
        return InProcess(setup, observers)
    if observers:
        raise InputError(f"observers see messages in this process only: use workers=1 instead of {workers}")
    return WorkerProcesses(setup, workers)


def _chunks(images: int, share: tuple[int, int]) -> list[tuple[int, int, int]]:
    """Return (start, stop, step) of the pieces in which the test images i, i + n, ... of a share (i, n) are judged."""
    first, step = share
    starts = range(first, images, EVALUATION_BATCH * step)
    return [(start, min(start + EVALUATION_BATCH * step, images), step) for start in starts]


def _total(parts: Sequence[Evaluation]) -> Evaluation:
    return Evaluation(
        correct=sum(part.correct for part in parts),
        loss_sum=sum(part.loss_sum for part in parts),
        images=sum(part.images for part in parts),
    )


class InProcess:
    """One worker in this process."""

    def __init__(self, setup: WorkerSetup, observers: Sequence[MessageObserver] = ()) -> None:
        self._worker = Worker(setup, observers)
        self._images = len(setup.test_labels)

    def train(self, tasks: Sequence[ClientTask], weights: GlobalWeights) -> Iterator[ClientResult]:
        """Yield the results in the order of the tasks."""
        for task in tasks:
            yield self._worker.train(task, weights)

    def train_together(self, tasks: Sequence[ClientTask], weights: GlobalWeights) -> Iterator[ClientResult]:
        """Yield the results of clients that share one server network, in the order of the tasks."""
        if tasks:
            yield from self._worker.train_together(tasks, weights)

    def evaluate(self, model: State, share: tuple[int, int] = (0, 1)) -> Evaluation:
        """Judge a model on the test set, or on its images i, i + n, i + 2n, ... with ``share=(i, n)``."""
        chunks = _chunks(self._images, share)
        return _total([self._worker.evaluate(start, stop, model, step) for start, stop, step in chunks])

    def close(self) -> None:
        """Nothing to release."""


class WorkerProcesses:
    """Worker processes of one thread each. Images and global weights are in memory that all of them share."""

    def __init__(self, setup: WorkerSetup, workers: int) -> None:
        try:
            for tensor in (setup.train_images, setup.train_labels, setup.test_images, setup.test_labels):
                _share(tensor)
            shared = GlobalWeights(
                model=_shared_copy(setup.model.state_dict()),
                heads={tier: _shared_copy(head.state_dict()) for tier, head in setup.heads.items()},
            )
        except RuntimeError as error:
            raise WorkerError(
                f"images and weights do not fit into shared memory ({error}): enlarge /dev/shm, or use --workers 1"
            ) from None
        self._shared = shared
        self._images = len(setup.test_labels)
        self._ahead = AHEAD_PER_WORKER * workers
        self._under_way = False
        # Closing the sending end tells the workers to stop at once, in the middle of a task if need be.
        stop, self._stop = multiprocessing.Pipe(duplex=False)
        self._pool = ProcessPoolExecutor(
            workers,
            # Forking a process that has computed with threads is unsafe.
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            initargs=(setup, shared, stop),
        )

    def train(self, tasks: Sequence[ClientTask], weights: GlobalWeights) -> Iterator[ClientResult]:
        """Yield the results in the order of the tasks."""
        yield from self._train([[task] for task in tasks], weights)

    def train_together(self, tasks: Sequence[ClientTask], weights: GlobalWeights) -> Iterator[ClientResult]:
        """Yield the results of clients that share one server network, in the order of the tasks: one worker's work."""
        if tasks:
            yield from self._train([tasks], weights)

    def _train(self, groups: Sequence[Sequence[ClientTask]], weights: GlobalWeights) -> Iterator[ClientResult]:
        _overwrite(self._shared.model, weights.model)
        for tier, head in weights.heads.items():
            _overwrite(self._shared.heads[tier], head)
        for packed in self._in_order(
            _train_group, [([_packed(task, TASK_STATES) for task in group],) for group in groups]
        ):
            for result in packed:
                yield _unpacked(result, RESULT_STATES)

    def evaluate(self, model: State, share: tuple[int, int] = (0, 1)) -> Evaluation:
        """Judge a model on the test set, or on its images i, i + n, i + 2n, ... with ``share=(i, n)``."""
        _overwrite(self._shared.model, model)
        return _total(list(self._in_order(_evaluate_chunk, _chunks(self._images, share))))

    def close(self) -> None:
        """Stop the worker processes; a task that is under way is abandoned."""
        if self._under_way:
            self._stop.close()
        self._pool.shutdown(cancel_futures=True)

    def _in_order(self, function: Callable[..., T], arguments: Sequence[tuple[Any, ...]]) -> Iterator[T]:
        """Yield the calls' results in order, with few calls under way at any time."""
        waiting: deque[Future[T]] = deque()
        self._under_way = True
        try:
            for call in arguments:
                with _interrupts_held():
                    waiting.append(self._pool.submit(function, *call))
                if len(waiting) >= self._ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
            self._under_way = False
        except BrokenProcessPool:
            raise WorkerError(
                "a worker process died (out of memory, killed, or a script without a main guard): "
                "go on with --resume, perhaps with fewer --workers"
            ) from None


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold back Ctrl-C inside the block (POSIX); a process that is started in it never hears of Ctrl-C at all.

    Ctrl-C reaches all processes of a terminal, but the parent alone decides what it means.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _share(tensor: torch.Tensor) -> None:
    """Move a tensor's data to memory that other processes can map."""
    # torch gives this one method no type annotations.
    tensor.share_memory_()  # type: ignore[no-untyped-call]


def _shared_copy(state: State) -> State:
    copies = {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}
    for tensor in copies.values():
        _share(tensor)
    return copies


def _overwrite(target: State, source: State) -> None:
    for name, tensor in source.items():
        target[name].copy_(tensor)


# Fields that hold tensors. They travel as safetensors bytes: hundreds of small shared-memory segments per client would
# cost more.
TASK_STATES = ("memory", "extras")
RESULT_STATES = ("model", "head", "memory", "extras")


def _packed(carrier: C, fields: Sequence[str]) -> tuple[C, bytes]:
    """Return a task or result without its tensors, and these as bytes."""
    states = {field: getattr(carrier, field) for field in fields}
    tensors = {f"{field}.{name}": t.contiguous() for field, state in states.items() for name, t in state.items()}
    emptied: dict[str, Any] = {field: {} for field in fields}
    return replace(carrier, **emptied), safetensors.torch.save(tensors)


def _unpacked(packed: tuple[C, bytes], fields: Sequence[str]) -> C:
    carrier, states = packed
    tensors = safetensors.torch.load(states)
    filled: dict[str, Any] = {field: below(f"{field}.", tensors) for field in fields}
    return replace(carrier, **filled)


# What follows runs in a worker process, which is one worker for the whole of its life.
_worker: Worker
_weights: GlobalWeights


def _start_worker(setup: WorkerSetup, shared: GlobalWeights, stop: Connection) -> None:
    global _worker, _weights
    # Where interrupts cannot be held back at the start of a process, they are ignored from here on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_on, args=(stop,), daemon=True).start()
    tune_allocator()
    torch.set_num_threads(1)
    _worker = Worker(setup)
    _weights = shared


def _exit_on(stop: Connection) -> None:
    """End this process when the parent says so, or is gone itself."""
    wait([stop])
    os._exit(1)


def _train_group(packed: Sequence[tuple[ClientTask, bytes]]) -> list[tuple[ClientResult, bytes]]:
    results = _worker.train_together([_unpacked(task, TASK_STATES) for task in packed], _weights)
    return [_packed(result, RESULT_STATES) for result in results]


def _evaluate_chunk(start: int, stop: int, step: int) -> Evaluation:
    return _worker.evaluate(start, stop, _weights.model, step)
