"""Independent jobs in processes of their own; one that fails, or whose process dies, does not end the others."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from dtfl_private.errors import DtflError
from dtfl_private.runtime.allocator import tune_allocator
from dtfl_private.runtime.processes import how_it_ended, spawn_context

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


def run_jobs(function: Callable[[Any, Report], None], jobs: Sequence[Any], processes: int, on_event: OnEvent) -> None:
    """Call ``function(job, report)`` for each job.

    Args:
        function: a function of a module, so that other processes find it.
        jobs: what it is called with.
        processes: jobs worked on at once; one of them works in this process.
        on_event: called with each report and each end.
    """
    if processes == 1:
        for number, job in enumerate(jobs):
            on_event(Ended(job=number, error=_attempt(function, job, _reporter(number, on_event))))
        return
    helpers: dict[Any, _Helper] = {}
    waiting = deque(enumerate(jobs))
    try:
        while waiting or helpers:
            while waiting and len(helpers) < processes:
                helper = _Helper(function)
                helpers[helper.connection] = helper
                helper.start(*waiting.popleft())
            for connection in wait(list(helpers)):
                helper = helpers[connection]
                event = helper.next_event()
                on_event(event)
                if isinstance(event, Reported):
                    continue
                if waiting and helper.alive:
                    helper.start(*waiting.popleft())
                else:
                    helper.stop()
                    del helpers[connection]
    finally:
        for helper in helpers.values():
            helper.stop()


def _reporter(number: int, on_event: OnEvent) -> Report:
    return lambda what: on_event(Reported(job=number, what=what))


def _attempt(function: Callable[[Any, Report], None], job: object, report: Report) -> str | None:
    """Return why a job failed, or None."""
    try:
        function(job, report)
    except DtflError as error:
        return str(error)
    except Exception as error:  # one job's failure is reported, and the others go on
        return " ".join(f"{type(error).__name__}: {error}".split())
    return None


class _Helper:
    """A process that does one job after the other."""

    def __init__(self, function: Callable[[Any, Report], None]) -> None:
        self.connection, theirs = multiprocessing.Pipe()
        self.job = -1
        self.alive = True
        self._process: BaseProcess = spawn_context().Process(target=_serve, args=(theirs, function), daemon=True)
        self._process.start()
        theirs.close()

    def start(self, number: int, job: object) -> None:
        """Hand over a job."""
        self.job = number
        self.connection.send(job)

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


def _serve(connection: Connection, function: Callable[[Any, Report], None]) -> None:
    """Do jobs until the parent is gone or ends this process."""
    # Ctrl-C reaches all processes of a terminal, but the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tune_allocator()
    while True:
        try:
            job = connection.recv()
            error = _attempt(function, job, lambda what: connection.send((False, what)))
            connection.send((True, error))
        except (EOFError, OSError):
            return
