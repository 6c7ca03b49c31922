import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtfl_private.protocol.contracts import FloatArray
from dtfl_private.simulation.server_queue import alone_s, done_s

# (first data there, data keep coming for, work of a server worker), each in whole seconds.
CLIENTS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 9), st.integers(0, 6)), min_size=1, max_size=7)
BATCHES = 60
FEW = settings(max_examples=40, deadline=None, derandomize=True)

Clients = list[tuple[int, int, int]]


def columns(clients: Clients) -> tuple[FloatArray, FloatArray, FloatArray]:
    arrival, streaming, service = np.array(clients, dtype=np.float64).T
    return arrival, streaming, service


def played_batch_by_batch(clients: Clients, workers: int) -> list[float]:
    """Return when each client is done: a free worker takes the batch that is there longest, one of a client at once.

    The data of a client's i-th batch are there when so much of its sending is over.
    """
    free_at = [0.0] * workers
    half_free = [0.0] * len(clients)
    queues = [
        [arrival + i / BATCHES * streaming for i in range(BATCHES if work else 0)]
        for arrival, streaming, work in clients
    ]
    done = [float(arrival + streaming) for arrival, streaming, _ in clients]
    while any(queues):
        worker = free_at.index(min(free_at))
        waiting = [k for k, queue in enumerate(queues) if queue]
        start, _, k = min((max(free_at[worker], half_free[k], queues[k][0]), queues[k][0], k) for k in waiting)
        queues[k].pop(0)
        free_at[worker] = half_free[k] = start + clients[k][2] / BATCHES
        done[k] = max(done[k], free_at[worker])
    return done


def backlog_by_hand(clients: Clients, at_s: float, workers: int) -> float:
    """Return for how many seconds all workers are busy with what came in until a moment and is not worked off yet."""

    def arrived(until: float, *, at_once: bool) -> float:
        total = 0.0
        for first, streaming, work in clients:
            if streaming:
                total += work * min(max((until - first) / streaming, 0.0), 1.0)
            elif first < until or (at_once and first == until):
                total += work
        return total / workers

    moments = [m for first, streaming, _ in clients for m in (first, first + streaming) if m <= at_s]
    return max(
        0.0, *(arrived(at_s, at_once=True) - arrived(since, at_once=False) - (at_s - since) for since in moments)
    )


@FEW
@given(CLIENTS, st.integers(1, 4))
def test_a_client_is_done_when_the_backlog_at_its_last_data_is_worked_off(clients: Clients, workers: int):
    got = done_s(*columns(clients), workers)
    for seconds, (first, streaming, work) in zip(got, clients, strict=True):
        expected = float(first + max(streaming, work))
        if work and workers < len(clients):
            expected = max(expected, first + streaming + backlog_by_hand(clients, first + streaming, workers))
        assert seconds == pytest.approx(expected, rel=1e-12)


@FEW
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 9), st.integers(0, 6)), min_size=1, max_size=7))
def test_one_worker_takes_batches_in_the_order_of_their_arrival(clients: Clients):
    """Small batches are a fluid, up to one batch of each client and what comes in while a client's last one does."""
    one_batch_each = sum(work for _, _, work in clients) / BATCHES
    inflow = sum(work / streaming for _, streaming, work in clients if streaming)
    got, expected = done_s(*columns(clients), 1), played_batch_by_batch(clients, 1)
    for ours, batched, (_, streaming, _) in zip(got, expected, clients, strict=True):
        assert abs(ours - batched) <= one_batch_each + streaming / BATCHES * inflow + 1e-9


@FEW
@given(CLIENTS, st.integers(2, 4))
def test_several_workers_are_never_done_before_the_fluid_and_later_by_one_clients_work_at_most(
    clients: Clients, workers: int
):
    one_batch_each = sum(work for _, _, work in clients) / BATCHES
    got, expected = done_s(*columns(clients), workers).max(), max(played_batch_by_batch(clients, workers))
    assert got - one_batch_each - 1e-9 <= expected <= got + max(work for _, _, work in clients) + 1e-9


def test_by_hand():
    """Two clients send 6 s of work each in 4 s, from 0 and 1 on. One worker is busy from 0 to 12, in order of arrival.

    By 4 s 6 and 4.5 s of work have come in, 4 s are done: the first client is done at 10.5, the second at 12.
    """
    arrival, streaming, service = np.array([0.0, 1.0]), np.array([4.0, 4.0]), np.array([6.0, 6.0])
    assert done_s(arrival, streaming, service, 1).tolist() == [10.5, 12]
    assert done_s(arrival, streaming, service, 2).tolist() == [6, 7]
    # A slow client, there first, keeps no worker busy while its data do not exist: of its 10 s, 0.1 come in per second.
    arrival, streaming, service = np.array([0.0, 1.0]), np.array([100.0, 1.0]), np.array([10.0, 9.0])
    assert done_s(arrival, streaming, service, 1) == pytest.approx([100, 2 + 9.1 - 1])


@FEW
@given(CLIENTS)
def test_with_a_worker_for_each_client_nobody_waits(clients: Clients):
    arrival, streaming, service = columns(clients)
    expected = np.maximum(arrival + streaming, arrival + service)
    assert np.array_equal(alone_s(arrival, streaming, service), expected)
    for workers in (len(clients), len(clients) + 3):
        assert np.array_equal(done_s(arrival, streaming, service, workers), expected)


@FEW
@given(CLIENTS, st.integers(1, 6))
def test_one_more_worker_delays_nobody(clients: Clients, workers: int):
    arrival, streaming, service = columns(clients)
    more, fewer = (done_s(arrival, streaming, service, count) for count in (workers + 1, workers))
    assert (more <= fewer * (1 + 1e-12)).all()


@FEW
@given(CLIENTS, st.integers(1, 3))
def test_a_client_without_work_waits_for_nobody_and_keeps_nobody_waiting(clients: Clients, workers: int):
    arrival, streaming, service = columns(clients)
    done = done_s(arrival, streaming, service, workers)
    assert np.array_equal(done[service == 0], (arrival + streaming)[service == 0])
    working = service > 0
    if workers < working.sum():
        alone = done_s(arrival[working], streaming[working], service[working], workers)
        assert done[working] == pytest.approx(alone, rel=1e-12)


def test_a_queue_leaves_its_arguments_alone():
    parts = columns([(3, 1, 1), (1, 1, 1), (2, 1, 1)])
    done_s(*parts, 1)
    assert [part.tolist() for part in parts] == [[3, 1, 2], [1, 1, 1], [1, 1, 1]]
