"""Executors: the clients of a round in this process, or in one-thread worker processes, with the same result."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol, TypeVar

import safetensors.torch
import torch
import torch.multiprocessing

from dtfl_private.errors import InputError, WorkerError
from dtfl_private.protection.base import name_of
from dtfl_private.protocol.messages import MessageObserver, State, below
from dtfl_private.runtime.allocator import tune_allocator
from dtfl_private.runtime.processes import how_it_ended, raise_open_files_limit, spawn_context, why_refused
from dtfl_private.runtime.sending import Parcel, packed, require_main_file, unpacked
from dtfl_private.runtime.shared_block import SharedState, share
from dtfl_private.training.state import GlobalWeights
from dtfl_private.training.tasks import ClientResult, ClientTask, Evaluation
from dtfl_private.training.worker import Worker, WorkerSetup

# Test images judged at once: a fixed number, so that sums are the same wherever they are computed.
EVALUATION_BATCH = 500

# Results that may wait for the average, per worker: keeps memory independent of the number of clients.
AHEAD_PER_WORKER = 2

T = TypeVar("T")
C = TypeVar("C", ClientTask, ClientResult)


class RunExecutor(Protocol):
    """An executor that a run opens and closes."""

    def start(self) -> None:
        """Start what works, and wait until it is ready; without it, it is started when it is needed."""
        ...

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

    def start(self) -> None:
        """Do nothing: it is ready."""

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
            parcel = packed(replace(setup, **none), _parts(setup))
            for tensor in images.values():
                share(tensor)
            shared = SharedState.holding(_named(setup))
            stop, self._stop = multiprocessing.Pipe(duplex=False)
            self._pool = ProcessPoolExecutor(
                workers,
                mp_context=spawn_context(),
                initializer=_start_worker,
                initargs=(parcel, images, shared, stop),
            )
        except (OSError, RuntimeError) as error:
            raise WorkerError(f"worker processes cannot be started: {why_refused(error)}") from None
        self._workers = workers
        self._shared = _global_weights(shared.tensors(), setup.heads)
        self._images = len(setup.test_labels)
        self._ahead = AHEAD_PER_WORKER * workers
        self._under_way = self._answered = False
        self._processes: list[BaseProcess] = []

    def start(self) -> None:
        """Start the worker processes and wait until they have all they need.

        Raises:
            InputError: they do not find what they were sent.
            WorkerError: they cannot be started, or died.
        """
        for _ in self._in_order(_report_ready, [()] * self._workers):
            pass

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
        for results in self._in_order(
            _train_group, [([_emptied(task, TASK_STATES) for task in group],) for group in groups]
        ):
            for result in results:
                yield _filled(result, RESULT_STATES)

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
            with _interrupts_held():
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


# What is in shared memory as it is, and not copied there.
IMAGES = ("train_images", "train_labels", "test_images", "test_labels")


def _parts(setup: WorkerSetup) -> dict[str, object]:
    """Return what in a setup may be the user's own, by what an error calls it."""
    defenses = {f"defense {name_of(defense)}": defense for defense in setup.defense}
    return {**defenses, "the network": setup.model, "the method": setup.work, "the data set": setup.normaliser}


def _named(setup: WorkerSetup) -> State:
    """Return the weights that a run begins with under one name each."""
    model = {f"model/{name}": tensor for name, tensor in setup.model.state_dict().items()}
    heads = {
        f"head/{tier}/{name}": tensor
        for tier, head in setup.heads.items()
        for name, tensor in head.state_dict().items()
    }
    return {**model, **heads}


def _global_weights(named: State, tiers: Iterable[int]) -> GlobalWeights:
    """Return the tensors of `_named` as weights."""
    return GlobalWeights(
        model=below("model/", named),
        heads={tier: below(f"head/{tier}/", named) for tier in tiers},
    )


def _overwrite(target: State, source: State) -> None:
    for name, tensor in source.items():
        target[name].copy_(tensor)


# Fields that hold tensors. They travel as safetensors bytes: hundreds of small shared-memory segments per client would
# cost more.
TASK_STATES = ("memory", "extras")
RESULT_STATES = ("model", "head", "memory", "extras")


def _emptied(carrier: C, fields: Sequence[str]) -> tuple[C, bytes]:
    """Return a task or result without its tensors, and these as bytes."""
    states = {field: getattr(carrier, field) for field in fields}
    tensors = {f"{field}.{name}": t.contiguous() for field, state in states.items() for name, t in state.items()}
    emptied: dict[str, Any] = {field: {} for field in fields}
    return replace(carrier, **emptied), safetensors.torch.save(tensors)


def _filled(emptied: tuple[C, bytes], fields: Sequence[str]) -> C:
    carrier, states = emptied
    tensors = safetensors.torch.load(states)
    filled: dict[str, Any] = {field: below(f"{field}.", tensors) for field in fields}
    return replace(carrier, **filled)


# What follows runs in a worker process, which is one worker for the whole of its life.
_worker: Worker
_weights: GlobalWeights
_refusal: InputError | None = None


def _start_worker(parcel: Parcel, images: Mapping[str, Any], shared: SharedState, stop: Connection) -> None:
    global _worker, _weights, _refusal
    # Where interrupts cannot be held back at the start of a process, they are ignored from here on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_on, args=(stop,), daemon=True).start()
    tune_allocator()
    torch.set_num_threads(1)
    try:
        setup: WorkerSetup = unpacked(parcel)
    except InputError as error:  # an exception here would end the process, and nobody would hear of the reason
        _refusal = error
        return
    _worker = Worker(replace(setup, **images))
    _weights = _global_weights(shared.tensors(), setup.heads)


def _exit_on(stop: Connection) -> None:
    """End this process when the parent says so, or is gone itself."""
    wait([stop])
    os._exit(1)


def _report_ready() -> None:
    """Raise the reason if this process can do no work."""
    if _refusal is not None:
        raise _refusal


def _train_group(emptied: Sequence[tuple[ClientTask, bytes]]) -> list[tuple[ClientResult, bytes]]:
    _report_ready()
    results = _worker.train_together([_filled(task, TASK_STATES) for task in emptied], _weights)
    return [_emptied(result, RESULT_STATES) for result in results]


def _evaluate_chunk(start: int, stop: int, step: int) -> Evaluation:
    _report_ready()
    return _worker.evaluate(start, stop, _weights.model, step)
