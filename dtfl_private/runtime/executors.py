"""Which executor a run gets: this process, one-thread worker processes, or a cluster, with the same result."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from dtfl_private.errors import InputError
from dtfl_private.protocol.messages import MessageObserver
from dtfl_private.runtime.executor_choice import LOCAL, parse_executor
from dtfl_private.runtime.in_process import InProcess
from dtfl_private.runtime.worker_pool import WorkerProcesses
from dtfl_private.training.executor import Executor
from dtfl_private.training.worker import WorkerSetup


def open_executor(
    setup: WorkerSetup,
    workers: int,
    observers: Sequence[MessageObserver] = (),
    *,
    executor: str = LOCAL,
    participants: int = 1,
) -> Executor:
    """Return an executor with this many workers; one works in this process.

    Args:
        setup: of the run.
        workers: on this machine.
        observers: of messages.
        executor: ``local``, or a cluster in place of this machine's workers; see `parse_executor`.
        participants: clients of a round at most.

    Raises:
        InputError: observers with more than one worker: they live in this process and would miss the messages; or the
            cluster cannot be used.
    """
    choice = parse_executor(executor)
    if choice is not None:
        if observers:
            raise InputError(f"observers see messages in this process only: use executor='{LOCAL}', not '{executor}'")
        from dtfl_private.runtime.ray_clients import RayClients

        return RayClients(setup, choice, participants)
    if workers == 1:
        return InProcess(setup, observers)
    if observers:
        raise InputError(f"observers see messages in this process only: use workers=1 instead of {workers}")
    return WorkerProcesses(setup, workers)


def cluster_kept(executor: str) -> AbstractContextManager[None]:
    """Let all that computes in the block use one connection to a cluster, and the same actors; starting takes seconds.

    Args:
        executor: as above; of this machine, nothing is kept.

    Raises:
        InputError: the cluster cannot be used.
    """
    choice = parse_executor(executor)
    if choice is None:
        return nullcontext()
    from dtfl_private.runtime.ray_cluster import kept

    return kept(choice)
