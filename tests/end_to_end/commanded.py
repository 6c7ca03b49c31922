"""A command in a process of its own, to be killed in the midst of its work.

It is forked from a process that has loaded what commands need, which takes seconds in one that is begun anew; that
commands start in such a one is tested elsewhere.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection

from dtfl_private.cli import main as cli


def nothing() -> None:
    """What a process does before its command."""


def killed_after(beginning: str, arguments: Sequence[str], before: Callable[[], None] = nothing) -> None:
    """Run a command and kill it when it prints a line that begins so.

    Args:
        beginning: of the line.
        arguments: of the command.
        before: what the process does first.
    """
    read, write = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("forkserver").Process(target=_run, args=(list(arguments), before, write))
    process.start()
    write.close()
    with os.fdopen(os.dup(read.fileno()), encoding="utf-8") as printed:
        said = next((line for line in printed if line.startswith(beginning)), None)
        process.kill()
        process.join()
    read.close()
    assert said is not None, "it ended before"
    assert process.exitcode == -signal.SIGKILL


def _run(arguments: list[str], before: Callable[[], None], write: Connection) -> None:
    os.dup2(write.fileno(), 1)
    os.dup2(write.fileno(), 2)
    sys.stdout = sys.stderr = open(1, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115 - until the end
    before()
    cli.main(arguments)
