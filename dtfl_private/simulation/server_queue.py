"""The server's capacity: parallel workers of a speed, and a queue when there are more server halves than workers."""

from dataclasses import dataclass

import numpy as np

from dtfl_private.protocol.contracts import FloatArray


@dataclass(frozen=True, kw_only=True)
class ServerCapacity:
    """The server: ``workers`` server halves are trained at once, each at the speed of ``cpus`` reference CPUs."""

    workers: int
    cpus: float


def alone_s(arrival_s: FloatArray, streaming_s: FloatArray, service_s: FloatArray) -> FloatArray:
    """Return when clients are done on both sides if a worker waits for each: arrival + max(streaming, service).

    Args:
        arrival_s: when a client's first data are at the server, seconds.
        streaming_s: how long its data keep coming, evenly: what it computes meanwhile.
        service_s: how long its server half keeps a worker busy.
    """
    return arrival_s + np.maximum(streaming_s, service_s)


def done_s(arrival_s_K: FloatArray, streaming_s_K: FloatArray, service_s_K: FloatArray, workers: int) -> FloatArray:
    """Return when each of K clients is done on both sides, its wait for the server's workers included.

    With a worker for each client that is `alone_s`. With fewer, the workers take the batches of all clients in the
    order in which they arrive, and wait where none is there. All workers together count as one that is so many times
    as fast, and batches as small ones: a fluid that is drained first come, first served.

    Args:
        arrival_s_K: see `alone_s`, as for the next two.
        streaming_s_K: seconds.
        service_s_K: seconds. A client without work for the server does not wait.
        workers: number of workers.
    """
    without_queue_s_K = alone_s(arrival_s_K, streaming_s_K, service_s_K)
    if workers >= len(arrival_s_K):
        return without_queue_s_K
    last_s_K = arrival_s_K + streaming_s_K
    wait_s_K = _last_waits_s(arrival_s_K, last_s_K, service_s_K, workers)
    return np.where(service_s_K > 0, np.maximum(without_queue_s_K, last_s_K + wait_s_K), without_queue_s_K)


def _last_waits_s(first_s_K: FloatArray, last_s_K: FloatArray, service_s_K: FloatArray, workers: int) -> FloatArray:
    """Return how long after its arrival the last of each client's work is done: the workers' backlog then.

    With F(t) the work that has arrived until t, per worker, the backlog is the maximum over s <= t of
    F(t) - F(s) - (t - s) (Reich 1958). F is linear between the moments at which a client begins or ceases to send, and
    jumps where all of a client's data are there at once.
    """
    clients = len(first_s_K)
    streams_K = last_s_K > first_s_K
    rate_K = np.where(streams_K, service_s_K, 0.0) / np.where(streams_K, last_s_K - first_s_K, 1.0) / workers
    jump_K = np.where(streams_K, 0.0, service_s_K) / workers
    moment_s = np.concatenate([first_s_K, last_s_K])
    order = np.argsort(moment_s, kind="stable")
    at_s, rate = moment_s[order], np.cumsum(np.concatenate([rate_K, -rate_K])[order])
    jump = np.concatenate([jump_K, np.zeros(clients)])[order]

    streamed_s = np.concatenate([[0.0], np.cumsum(rate[:-1] * np.diff(at_s))])
    arrived_s = streamed_s + np.cumsum(jump)
    idle_s = np.maximum.accumulate(at_s - (arrived_s - jump))
    backlog_s = np.empty(2 * clients)
    backlog_s[order] = np.maximum(idle_s - (at_s - arrived_s), 0.0)
    return backlog_s[clients:]
