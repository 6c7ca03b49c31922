"""How long something takes on this host: by the thread's own clock on a CPU, by the wall's on an accelerator.

The thread's clock counts the time in which it had a core, so that other work on the machine hardly matters; it is right
because all is computed by one thread. An accelerator works on its own: there the wall's clock is read when it is done.

Of several repetitions the median counts, of figures and of what they are compared with alike: what other programs do to
caches and clocks is then in both.
"""

import statistics
import time
from collections.abc import Callable

import torch


def now_s(device: str) -> float:
    """Return the time by the clock of a device, when all that was asked of it is done."""
    if device == "cpu":
        return time.thread_time()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def median_s(run: Callable[[], object], device: str, repeats: int) -> float:
    """Return the median seconds of a function over so many calls, after one that is not counted."""
    run()
    taken = []
    for _ in range(repeats):
        start = now_s(device)
        run()
        taken.append(now_s(device) - start)
    return statistics.median(taken)


def clock_words(device: str) -> str:
    """Return which clock is read, for people."""
    return "CPU time of the one thread" if device == "cpu" else "wall time, the device waited for"
