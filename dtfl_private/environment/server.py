"""The server's capacity: parallel workers of a speed, and a queue when there are more server halves than workers."""

import heapq
from dataclasses import dataclass

import numpy as np

from dtfl_private.contracts import FloatArray


@dataclass(frozen=True, kw_only=True)
class ServerCapacity:
    """The server: ``workers`` server halves are trained at once, each at the speed of ``cpus`` reference CPUs."""

    workers: int
    cpus: float


def queue(arrival_s_K: FloatArray, service_s_K: FloatArray, workers: int) -> FloatArray:
    """Return when each job's service starts, first come first served on ``workers`` parallel workers.

    A job without any service starts when it arrives: it needs no worker.

    Args:
        arrival_s_K: when each job's data are there, seconds.
        service_s_K: how long each job keeps a worker busy, seconds.
        workers: number of workers. Ties are served in the order of the arrays.
    """
    if workers >= len(arrival_s_K):
        return arrival_s_K.copy()
    start_s_K = arrival_s_K.copy()
    free_at = [0.0] * workers
    arrival, service = arrival_s_K.tolist(), service_s_K.tolist()
    order = np.argsort(arrival_s_K, kind="stable")
    for job in order[service_s_K[order] > 0].tolist():
        start = max(heapq.heappop(free_at), arrival[job])
        heapq.heappush(free_at, start + service[job])
        start_s_K[job] = start
    return start_s_K
