"""What the tests of Ray send to actors, which import it from here."""

import os
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dtfl_private.errors import RunError


@dataclass(frozen=True)
class DiesOnce:
    """Another method's work, whose process is killed in the middle of a client's round, as long as a file is there."""

    work: Any
    client: int
    file: str

    def train(self, worker: Any, tasks: Sequence[Any], weights: Any) -> Any:
        results = self.work.train(worker, tasks, weights)
        if tasks[0].client == self.client and Path(self.file).exists():
            Path(self.file).unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return results


@dataclass(frozen=True)
class DiesWithItsNode:
    """Another method's work, in which a node ends while two nodes are in the midst of clients' rounds.

    Attributes:
        work: of the method.
        doomed: a file of numbers of processes; those of its own node are ended by the actor that is among them.
        fifo: where the other actor waits for it.
    """

    work: Any
    doomed: str
    fifo: str

    def train(self, worker: Any, tasks: Sequence[Any], weights: Any) -> Any:
        results = self.work.train(worker, tasks, weights)
        if Path(self.doomed).exists():
            processes = [int(number) for number in Path(self.doomed).read_text().split()]
            if os.getpid() not in processes:
                Path(self.fifo).read_bytes()
                return results
            with Path(self.fifo).open("wb"):
                Path(self.doomed).unlink()
            others = [process for process in processes if process != os.getpid()]
            # They are held first: a node that misses one of its processes would end this one before it is done.
            ends = [(process, how) for how in (signal.SIGSTOP, signal.SIGKILL) for process in others]
            for process, how in [*ends, (os.getpid(), signal.SIGKILL)]:
                with suppress(ProcessLookupError):  # one that has ended by itself meanwhile
                    os.kill(process, how)
        return results


class Unsendable:
    """A part that cannot be written down."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


def work(job: Any, report: Any) -> None:
    """Tell of each step, write a file next to the current folder's, and end as the job says."""
    steps, end = job
    for step in range(steps):
        report(("step", step))
    if end == "fail":
        raise RunError("it could not go on")
    if end == "stumble":
        raise ZeroDivisionError("by\nzero")
    Path(f"done-{end}").touch()
