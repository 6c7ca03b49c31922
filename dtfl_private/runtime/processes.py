"""What worker processes need of the system, and how they ended: what is known, and what is only likely."""

import errno
import multiprocessing
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import SpawnContext

# As many descriptors as a pool of any sensible size takes; more are not asked for, though some systems allow millions.
ENOUGH_FILES = 65_536


def spawn_context() -> SpawnContext:
    """Return how worker processes are begun: anew, as forking a process that has computed with threads is unsafe.

    Such a process is a ``python -c``, which looks into the current folder before everything else: a ``struct.py`` there
    would be run, and the folder may be one that came from somebody else. PYTHONSAFEPATH keeps the folder off the path
    until the process gets this one's path. It is set for good: multiprocessing begins helpers when they are needed.
    """
    os.environ["PYTHONSAFEPATH"] = "1"
    return multiprocessing.get_context("spawn")


def raise_open_files_limit() -> None:
    """Let this process open as many files as it may, by itself, allow itself: up to the hard limit (POSIX only)."""
    if sys.platform == "win32":
        return
    import resource  # POSIX only

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH_FILES if hard == resource.RLIM_INFINITY else min(hard, ENOUGH_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        return  # some systems have a lower limit that they do not tell; the old one then stays


def why_refused(error: OSError | RuntimeError) -> str:
    """Return why the system refused memory or processes, and what helps: the end of a sentence."""
    reason = " ".join(str(error).split())
    match _number_of(error):
        case errno.ENOSPC:
            return (
                f"images and weights do not fit into shared memory ({reason}): enlarge /dev/shm "
                "(in a container --shm-size), or use --workers 1"
            )
        case errno.EMFILE | errno.ENFILE:
            return f"too many open files ({reason}): raise the limit (ulimit -n), or use fewer --workers"
        case errno.ENOMEM:
            return f"not enough memory ({reason}): use fewer --workers"
        case errno.EAGAIN:
            return f"too many processes ({reason}): raise the limit (ulimit -u), or use fewer --workers"
    if "bootstrapping phase" in reason:
        return (
            "a worker process ran the script that started it, which starts workers again: put the training under "
            "`if __name__ == '__main__':`, or use workers=1"
        )
    return f"{reason}: use --workers 1"


def _number_of(error: OSError | RuntimeError) -> int | None:
    """Return the system's number of an error; torch writes it into its text, as in "... left on device (28)"."""
    if isinstance(error, OSError):
        return error.errno
    found = re.search(r"\((\d+)\)", str(error))
    return int(found.group(1)) if found else None


_LIKELY = {
    "SIGKILL": "the system ran out of memory, or somebody killed it",
    "SIGTERM": "somebody ended it",
    "SIGBUS": "shared memory (/dev/shm) or a disk is full",
    "SIGSEGV": "a fault in a native library",
    "SIGABRT": "a fault in a native library",
    "SIGILL": "a library made for another processor",
}


def how_it_ended(exit_code: int | None) -> str:
    """Return in words how a process ended that should not have; what is not known is said to be a guess."""
    if exit_code is None:
        return "how it ended is not known"
    if exit_code >= 0:
        return f"it ended with exit status {exit_code}; an error of its own is shown above, if it had one"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = str(-exit_code)
    likely = _LIKELY.get(name)
    return f"it was ended by signal {name}" + (f"; a guess: {likely}" if likely else "")


@contextmanager
def interrupts_held() -> Iterator[None]:
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
