import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtfl_private.environment.server import ServerCapacity
from dtfl_private.federated.timing import BatchByBatch, Overlapping, RoundWork, ServerLast

ONE, MANY = ServerCapacity(workers=1, cpus=1.0), ServerCapacity(workers=9, cpus=1.0)


def work(compute: list[float], transfer: list[float], server: list[float], batches: list[int]) -> RoundWork:
    seconds = (np.array(values, dtype=np.float64) for values in (compute, transfer, server))
    return RoundWork(
        **dict(zip(("compute_s_P", "transfer_s_P", "server_s_P"), seconds, strict=True)), batches_P=np.array(batches)
    )


def test_overlapping_work_takes_as_long_as_the_longer_side():
    course = Overlapping().play(work([5, 1], [2, 2], [1, 4], [3, 3]), MANY)
    assert course.client_time_s_P.tolist() == [7, 6]
    assert course.server_wait_s == 0
    # On one worker the second server half starts when the first is done, at 3.
    course = Overlapping().play(work([5, 1], [2, 2], [1, 4], [3, 3]), ONE)
    assert course.client_time_s_P.tolist() == [7, 7]
    assert course.server_wait_s == 1


@pytest.mark.parametrize("trips", [0, 1])
def test_who_streams_waits_once_and_who_needs_gradients_in_every_batch(trips):
    batches = np.array([4, 0])
    assert Overlapping(trips=trips).round_trips(batches).tolist() == [trips, trips]
    assert BatchByBatch(one_server_half=False).round_trips(batches).tolist() == [5, 1]
    assert ServerLast().round_trips(batches).tolist() == [1, 1]


def test_where_gradients_return_nothing_overlaps():
    course = BatchByBatch(one_server_half=False).play(work([5, 1], [2, 2], [1, 4], [3, 3]), MANY)
    assert course.client_time_s_P.tolist() == [8, 7]
    assert course.order.tolist() == []


def test_clients_take_turns_at_one_server_half_batch_by_batch():
    """By hand: own work per batch 1 and 4, service 1; the third client has none to send."""
    course = BatchByBatch(one_server_half=True).play(work([3, 8, 1], [0, 0, 1], [3, 2, 0], [3, 2, 0]), MANY)
    # Client 0 is served in 1-2 and 3-4; at 4 client 1 arrives and is served in 4-5, client 0 waits from 5 to 5, and
    # is done at 6; client 1 comes back at 9 and is done at 10.
    assert course.order.tolist() == [0, 0, 1, 0, 1]
    assert course.client_time_s_P.tolist() == [6, 10, 2]
    assert course.server_wait_s == 0
    # Twins arrive together once; after the first wait they alternate.
    twins = BatchByBatch(one_server_half=True).play(work([2, 2], [0, 0], [2, 2], [2, 2]), MANY)
    assert twins.order.tolist() == [0, 1, 0, 1]
    assert twins.client_time_s_P.tolist() == [4, 5]
    assert twins.server_wait_s == 1


times = st.lists(st.tuples(*[st.floats(0, 9)] * 3, st.integers(0, 5)), min_size=1, max_size=6)


@given(times, st.integers(1, 4))
def test_waiting_is_what_is_left_of_the_time_and_never_negative(rows, workers):
    """T_k is the work and the waits, and every batch has its turn."""
    given_work = work(*(list(column) for column in zip(*rows, strict=True)))
    has_batches = given_work.batches_P > 0
    given_work.server_s_P[~has_batches] = 0
    alone = given_work.compute_s_P + given_work.transfer_s_P + given_work.server_s_P
    for timing in (BatchByBatch(one_server_half=False), BatchByBatch(one_server_half=True), ServerLast()):
        course = timing.play(given_work, ServerCapacity(workers=workers, cpus=1.0))
        waits = course.client_time_s_P - alone
        assert waits.min() >= -1e-9
        assert waits.sum() == pytest.approx(course.server_wait_s, abs=1e-9)
    turns = BatchByBatch(one_server_half=True).play(given_work, ONE)
    assert np.bincount(turns.order, minlength=len(rows)).tolist() == given_work.batches_P.tolist()


def test_a_server_that_comes_last_waits_for_all_but_those_who_vanished():
    course = ServerLast().play(work([5, 1, 1, 9], [1, 1, 2, 0], [2, 3, 1, 0], [1, 1, 1, 1]), MANY)
    assert course.client_time_s_P.tolist() == [12, 12, 12, 9]
    assert course.server_wait_s == 4 + 7 + 8


def test_what_is_sent_apart_is_sent_once_and_by_nobody_who_vanishes():
    images, records, dropped = np.array([20, 7]), np.array([10, 10]), np.array([False, True])
    assert ServerLast().sent_images(images, records, dropped).tolist() == [10, 0]
    for timing in (Overlapping(), BatchByBatch(one_server_half=True)):
        assert timing.sent_images(images, records, dropped).tolist() == [20, 7]
