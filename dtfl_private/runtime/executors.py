"""Which executor a run gets: this process, or one-thread worker processes, with the same result."""

from collections.abc import Sequence

from dtfl_private.errors import InputError
from dtfl_private.protocol.messages import MessageObserver
from dtfl_private.runtime.in_process import InProcess
from dtfl_private.runtime.worker_pool import WorkerProcesses
from dtfl_private.training.executor import Executor
from dtfl_private.training.worker import WorkerSetup


def open_executor(setup: WorkerSetup, workers: int, observers: Sequence[MessageObserver] = ()) -> Executor:
    """Return an executor with this many workers; one works in this process.

    Raises:
        InputError: observers with more than one worker: they live in this process and would miss the messages.
    """
    if workers == 1:
        return InProcess(setup, observers)
    if observers:
        raise InputError(f"observers see messages in this process only: use workers=1 instead of {workers}")
    return WorkerProcesses(setup, workers)
