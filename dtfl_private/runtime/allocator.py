"""How memory is handed out and taken back, for processes that are this project's own."""

import ctypes
import gc
import os
import sys

# Parameters of mallopt(3), and the largest values it takes.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
TRIM_BYTES = 2**31 - 1
MMAP_BYTES = 32 * 2**20


# New objects until garbage is looked for; Python's own 700 has it looked for hundreds of times while torch loads.
NEW_OBJECTS = 10_000


def collect_rarely() -> None:
    """Look for garbage after `NEW_OBJECTS` new objects, not after some hundred: a sixth less time until torch is there.

    For the command line, not for a process that only uses the library. Where it is looked for more rarely it stays so.
    """
    first, *others = gc.get_threshold()
    if 0 < first < NEW_OBJECTS:  # 0: never
        gc.set_threshold(NEW_OBJECTS, *others)


def tune_allocator() -> None:
    """Let this process keep freed activations for the next batch, in huge pages where the kernel offers them.

    A batch's activations are tens of MiB: returning them to the kernel after each step and faulting them in again
    costs more than a tenth of a step (``python -m benchmarks.throughput``). For worker processes and the command line,
    not for a process that only uses the library. Linux with glibc; elsewhere nothing happens.
    """
    # Read by torch at its first large allocation.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library
        return
    mallopt(M_TRIM_THRESHOLD, TRIM_BYTES)
    mallopt(M_MMAP_THRESHOLD, MMAP_BYTES)
