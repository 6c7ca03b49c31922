"""What runs in a worker process, which is one worker for the whole of its life."""

import os
import signal
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import Any

import torch
import torch.multiprocessing

from dtfl_private.errors import InputError
from dtfl_private.protocol.contracts import FloatArray
from dtfl_private.runtime.allocator import tune_allocator
from dtfl_private.runtime.carried_states import RESULT_STATES, TASK_STATES, with_tensors, without_tensors
from dtfl_private.runtime.logs import show_in_worker
from dtfl_private.runtime.named_weights import global_weights
from dtfl_private.runtime.sending import Parcel, unpacked
from dtfl_private.runtime.shared_block import SharedState
from dtfl_private.training.state import GlobalWeights
from dtfl_private.training.tasks import ClientResult, ClientTask, Evaluation, ImageRange
from dtfl_private.training.worker import Worker, WorkerSetup

_worker: Worker
_weights: GlobalWeights
_refusal: InputError | None = None


def start_worker(parcel: Parcel, images: Mapping[str, Any], shared: SharedState, stop: Connection, warns: bool) -> None:
    """Become a worker: unpack the setup, and listen for the end; ``warns``: show log lines that warn."""
    global _worker, _weights, _refusal
    # Where interrupts cannot be held back at the start of a process, they are ignored from here on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_on, args=(stop,), daemon=True).start()
    tune_allocator()
    show_in_worker(warns)
    torch.set_num_threads(1)
    try:
        setup: WorkerSetup = unpacked(parcel)
    except InputError as error:  # an exception here would end the process, and the reason would be lost
        _refusal = error
        return
    _worker = Worker(replace(setup, **images))
    _weights = global_weights(shared.tensors(), setup.heads)


def _exit_on(stop: Connection) -> None:
    """End this process when the parent says so, or is gone itself."""
    wait([stop])
    os._exit(1)


def report_ready() -> None:
    """Raise the reason if this process can do no work."""
    if _refusal is not None:
        raise _refusal


def train_group(emptied: Sequence[tuple[ClientTask, bytes]]) -> list[tuple[ClientResult, bytes]]:
    """Return the results of clients that are trained together."""
    report_ready()
    tasks = [with_tensors(task, TASK_STATES) for task in emptied]
    results = _worker.setup.work.train(_worker, tasks, _weights)
    return [without_tensors(result, RESULT_STATES) for result in results]


def evaluate_chunk(images: ImageRange) -> Evaluation:
    """Return how the shared model does on a few images."""
    report_ready()
    return _worker.evaluate(_weights.model, images)


def logits_of_chunk(images: ImageRange) -> FloatArray:
    """Return what the shared model says of a few images, (N, classes)."""
    report_ready()
    return _worker.logits(_weights.model, images).numpy()
