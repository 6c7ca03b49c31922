"""Independent jobs in processes of their own; one that fails, or whose process dies, does not end the others."""

import logging
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from dtfl_private.errors import CallbackError, DtflError
from dtfl_private.runtime import logs
from dtfl_private.runtime.allocator import tune_allocator
from dtfl_private.runtime.executor_choice import RayChoice
from dtfl_private.runtime.processes import how_it_ended, spawn_context

log = logging.getLogger(__name__)

Report = Callable[[object], None]
"""What a job calls to tell how it proceeds."""


@dataclass(frozen=True, kw_only=True)
class Reported:
    """Something that a job reported; what can be sent to another process."""

    job: int
    what: object


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The end of a job. error: why it failed, or None."""

    job: int
    error: str | None = None


OnEvent = Callable[[Reported | Ended], None]
"""What is called with everything that happens to the jobs, as it happens."""


@dataclass(frozen=True, kw_only=True)
class OnCluster:
    """Jobs are done on a Ray cluster, in place of processes of this machine.

    Attributes:
        choice: which cluster, and what of it.
        folder: where jobs write, which all nodes must see.
    """

    choice: RayChoice
    folder: Path

    @classmethod
    def of(cls, choice: RayChoice | None, folder: Path) -> "OnCluster | None":
        """Return where jobs are done that write to a folder; None for this machine."""
        return None if choice is None else cls(choice=choice, folder=folder)


def run_jobs(
    function: Callable[[Any, Report], None],
    jobs: Sequence[Any],
    processes: int,
    on_event: OnEvent,
    cluster: OnCluster | None = None,
) -> None:
    """Call ``function(job, report)`` for each job.

    Args:
        function: a function of a module, so that other processes find it.
        jobs: what it is called with.
        processes: jobs worked on at once; one of them works in this process.
        on_event: called with each report and each end.
        cluster: does the jobs in place of processes.
    """
    if cluster is not None:
        from dtfl_private.runtime.ray_jobs import run_on_ray

        run_on_ray(function, jobs, cluster.choice, cluster.folder, on_event)
        return
    if processes == 1:
        for number, job in enumerate(jobs):
            on_event(Ended(job=number, error=attempt(function, job, _reporter(number, on_event))))
        return
    kept = _KEPT.get()
    idle = [] if kept is None else kept
    busy: dict[Any, _Helper] = {}
    waiting = deque(enumerate(jobs))
    try:
        while waiting or busy:
            while waiting and len(busy) < processes:
                helper = _one_that_lives(idle) or _Helper()
                busy[helper.connection] = helper
                helper.start(function, *waiting.popleft())
            for connection in wait(list(busy)):
                helper = busy[connection]
                event = helper.next_event()
                on_event(event)
                if isinstance(event, Reported):
                    continue
                del busy[connection]
                if helper.alive and (waiting or kept is not None):
                    idle.append(helper)
                else:
                    helper.stop()
    finally:
        for helper in [*busy.values(), *(idle if kept is None else ())]:
            helper.stop()


@contextmanager
def processes_kept(count: int, prepare: Callable[[], object]) -> Iterator[None]:
    """Begin processes ahead, and let every `run_jobs` inside the block use them: it takes seconds until one can work.

    Args:
        count: of processes; of one none, as its jobs are done in this process.
        prepare: what each does first: importing what jobs need, and opening files. What fails there fails again, and
            is told, when a job needs it.
    """
    idle: list[_Helper] = []
    token = _KEPT.set(idle)
    try:
        for _ in range(count if count > 1 else 0):
            idle.append(_Helper(prepare))
        yield
    finally:
        _KEPT.reset(token)
        for helper in idle:
            helper.stop()


def _one_that_lives(idle: list["_Helper"]) -> "_Helper | None":
    """Take a process that waits; those that died meanwhile are dropped."""
    while idle:
        helper = idle.pop()
        if helper.lives:
            return helper
        helper.stop()
    return None


def _reporter(number: int, on_event: OnEvent) -> Report:
    return lambda what: on_event(Reported(job=number, what=what))


def attempt(function: Callable[[Any, Report], None], job: object, report: Report) -> str | None:
    """Return why a job failed, or None."""
    try:
        function(job, report)
    except CallbackError:  # who hears of all jobs failed, not this one
        raise
    except DtflError as error:
        return str(error)
    except Exception as error:  # one job's failure is reported, and the others go on
        return " ".join(f"{type(error).__name__}: {error}".split())
    return None


class _Helper:
    """A process that does one job after the other.

    Args:
        prepare: what it does first.
    """

    def __init__(self, prepare: Callable[[], object] | None = None) -> None:
        self.connection, theirs = multiprocessing.Pipe()
        self.job = -1
        self.alive = True
        self._process: BaseProcess = spawn_context().Process(
            target=_serve, args=(theirs, prepare, logs.are_shown()), daemon=True
        )
        self._process.start()
        log.debug("started process %s for jobs", self._process.pid)
        theirs.close()

    @property
    def lives(self) -> bool:
        """Whether the process has not ended."""
        return self._process.is_alive()

    def start(self, function: Callable[[Any, Report], None], number: int, job: object) -> None:
        """Hand over a job; of a process that has died, the next event tells."""
        self.job = number
        with suppress(OSError):
            self.connection.send((function, job))

    def next_event(self) -> Reported | Ended:
        """Wait for what the process says next."""
        try:
            ended, what = self.connection.recv()
        except (EOFError, OSError):
            self.alive = False
            self._process.join()
            return Ended(job=self.job, error=f"its process died: {how_it_ended(self._process.exitcode)}")
        return Ended(job=self.job, error=what) if ended else Reported(job=self.job, what=what)

    def stop(self) -> None:
        """End the process, in the middle of a job if need be."""
        self._process.terminate()
        self._process.join()
        self.connection.close()


_KEPT: ContextVar[list[_Helper] | None] = ContextVar("kept processes", default=None)
"""Processes that wait for jobs; None outside `processes_kept`, where each call of `run_jobs` has its own."""


def _serve(connection: Connection, prepare: Callable[[], object] | None, warns: bool) -> None:
    """Do jobs until the parent is gone or ends this process; ``warns``: show log lines that warn."""
    # Ctrl-C reaches all processes of a terminal, but the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tune_allocator()
    logs.show_in_worker(warns)
    if prepare is not None:
        with suppress(Exception):  # it fails again, and is told, when a job needs it
            prepare()
    while True:
        try:
            function, job = connection.recv()
            error = attempt(function, job, lambda what: connection.send((False, what)))
            connection.send((True, error))
        except (EOFError, OSError):
            return
