"""What runs in an actor of a Ray cluster: one worker for the whole of a run, or one job after the other."""

import os
import socket
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import safetensors.torch
import torch

from dtfl_private.errors import InputError
from dtfl_private.plugins.own_objects import search_first
from dtfl_private.protocol.contracts import FloatArray
from dtfl_private.protocol.messages import State
from dtfl_private.runtime.allocator import tune_allocator
from dtfl_private.runtime.carried_states import RESULT_STATES, TASK_STATES, with_tensors, without_tensors
from dtfl_private.runtime.device import processor_name
from dtfl_private.runtime.jobs import Report, attempt
from dtfl_private.runtime.named_weights import global_weights
from dtfl_private.training.tasks import ClientResult, ClientTask, Evaluation, ImageRange
from dtfl_private.training.worker import Worker, WorkerSetup


@dataclass(frozen=True, kw_only=True)
class Node:
    """What an actor says of the machine that it is on.

    Attributes:
        host: its name.
        process: the actor's process number there.
        computes_by: what sums may depend on: processor or GPU, and torch.
    """

    host: str
    process: int
    computes_by: str


@dataclass(frozen=True, kw_only=True)
class InStore:
    """Named tensors as safetensors bytes in the cluster's store.

    Attributes:
        number: a new one each time that others are put there.
        reference: to the bytes.
    """

    number: int
    reference: Any


Work = Callable[[Any, Report], None]
"""What does a job; see `dtfl_private.runtime.jobs.run_jobs`."""


class RayActor:
    """A process of a cluster, with one CPU thread; Ray starts it, and passes it what it is called with."""

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._weights: State = {}
        self._number = -1

    def begin(self, own_modules: Mapping[str, str], has_gpu: bool, version: str, *setup: Any) -> Node:
        """Make ready: for clients if a setup is passed, `WorkerSetup` and its images, both in lists of one reference.

        Raises:
            InputError: this node has another version of the toolkit, or does not find what it was sent.
        """
        from importlib.metadata import version as installed

        if installed("dtfl-private") != version:
            raise InputError(
                f"node {socket.gethostname()} has dtfl-private {installed('dtfl-private')}, this machine {version}: "
                "install the same version on all nodes"
            )
        if not has_gpu:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # so that ``auto`` takes no GPU that nobody gave to this actor
        tune_allocator()
        torch.set_num_threads(1)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        search_first(own_modules)
        self._worker, self._weights, self._number = None, {}, -1  # of the crew before
        if setup:
            self._worker = Worker(_setup_of(*setup))
        return Node(host=socket.gethostname(), process=os.getpid(), computes_by=_computes_by(has_gpu))

    def train(
        self, weights: InStore, emptied: Sequence[Sequence[tuple[ClientTask, bytes]]]
    ) -> list[tuple[ClientResult, bytes]]:
        """Return the results of clients, one after the other, of groups that are each trained together."""
        worker = self._own_worker()
        given = global_weights(self._named(weights), worker.setup.heads)
        results: list[tuple[ClientResult, bytes]] = []
        for group in emptied:
            tasks = [with_tensors(task, TASK_STATES) for task in group]
            trained = worker.setup.work.train(worker, tasks, given)
            results += [without_tensors(result, RESULT_STATES) for result in trained]
        return results

    def evaluate(self, weights: InStore, images: ImageRange) -> Evaluation:
        """Return how a model does on a few images."""
        return self._own_worker().evaluate(self._named(weights), images)

    def logits(self, weights: InStore, images: ImageRange) -> FloatArray:
        """Return what a model says of a few images, (N, classes)."""
        return self._own_worker().logits(self._named(weights), images).numpy()

    def work(self, function: Work, job: object, folder: str, token: str) -> Iterator[tuple[bool, object]]:
        """Do a job, and yield what it reports as ``(False, what)``; at last ``(True, why it failed, or None)``.

        Args:
            function: does it; called with the job, and what takes its reports.
            job: what it is called with.
            folder: the current folder of the program that asks.
            token: a file that this program has written, which every node must see.
        """
        refusal = _cannot_work_in(folder, token)
        if refusal is not None:
            yield True, refusal
            return
        told: SimpleQueue[tuple[bool, object]] = SimpleQueue()
        Thread(target=_attempt_and_tell, args=(function, job, told), daemon=True).start()
        over = False
        while not over:
            over, what = told.get()
            yield over, what

    def _own_worker(self) -> Worker:
        assert self._worker is not None
        return self._worker

    def _named(self, weights: InStore) -> State:
        """Return tensors from the store; they are fetched once, however many calls name them."""
        if weights.number != self._number:
            import ray

            stored = ray.get(weights.reference)
            self._weights = safetensors.torch.load(stored)  # numbers only: safetensors hold no code
            self._number = weights.number
        return self._weights


def _attempt_and_tell(function: Work, job: object, told: "SimpleQueue[tuple[bool, object]]") -> None:
    """Do a job in a thread of its own, so that the actor can pass on what it reports."""
    error: str | None = "it ended without a word"
    try:
        error = attempt(function, job, lambda what: told.put((False, what)))
    finally:
        told.put((True, error))


def _cannot_work_in(folder: str, token: str) -> str | None:
    """Go to a folder, and return why jobs cannot be done there, or None."""
    advice = (
        "jobs read and write files: start them in a folder that all nodes share, and give --out one that they share"
    )
    try:
        os.chdir(folder)
    except OSError:
        return f"node {socket.gethostname()} has no folder '{folder}'; {advice}"
    if not Path(token).exists():
        return f"node {socket.gethostname()} does not see the files in '{Path(token).parent}'; {advice}"
    return None


def _setup_of(setup: Sequence[Any], images: Sequence[Any]) -> WorkerSetup:
    """Return the setup of a run from the store; its images stay there, where all actors of a node read them."""
    import ray

    try:
        whole: WorkerSetup = ray.get(setup[0])
    except ray.exceptions.RayError as error:
        raise InputError(
            f"node {socket.gethostname()} cannot read what this run sends it ({' '.join(str(error).split())[:300]}): "
            "install your own modules on all nodes"
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # nothing writes to them, though torch has no tensors that say so
        tensors: dict[str, Any] = {name: torch.from_numpy(array) for name, array in ray.get(images[0]).items()}
    return replace(whole, **tensors)


def _computes_by(has_gpu: bool) -> str:
    name = torch.cuda.get_device_name() if has_gpu and torch.cuda.is_available() else processor_name()
    return f"{name}, torch {torch.__version__}"
