from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtfl_private.simulation.server_queue import ServerCapacity
from dtfl_private.simulation.timing import BatchByBatch, Overlapping, RoundWork, ServerLast, SharedServer
from dtfl_private.simulation.workload import Workload

ONE, FIVE, MANY = (ServerCapacity(workers=workers, cpus=1.0) for workers in (1, 5, 9))


def work(compute: list[float], transfer: list[float], server: list[float], batches: list[int]) -> RoundWork:
    training_s, transfer_s, service_s = (np.array(values, dtype=np.float64) for values in (compute, transfer, server))
    seconds = Workload(
        training_s=training_s, releasing_s=np.zeros_like(training_s), transfer_s=transfer_s, service_s=service_s
    )
    return RoundWork(seconds=seconds, batches_P=np.array(batches), sent_batches_P=np.array(batches))


def test_overlapping_work_takes_as_long_as_the_longer_side():
    times = Overlapping().simulate(work([5, 1], [2, 2], [1, 4], [3, 3]), MANY)
    assert times.client_time_s_P.tolist() == [7, 6]
    assert times.server_wait_s == 0
    # On one worker, from 2 to 3, 0.2 and 4 s of work come in: 3.2 are left. The rest of the first client's comes later.
    times = Overlapping().simulate(work([5, 1], [2, 2], [1, 4], [3, 3]), ONE)
    assert times.client_time_s_P.tolist() == pytest.approx([7, 6.2])
    assert times.server_wait_s == pytest.approx(0.2)


@pytest.mark.parametrize("trips", [0, 1])
def test_who_streams_waits_once_and_who_needs_gradients_in_every_batch(trips):
    batches = np.array([4, 0])
    assert Overlapping(trips=trips).round_trips(batches).tolist() == [trips, trips]
    assert BatchByBatch(one_server_half=False).round_trips(batches).tolist() == [5, 1]
    assert ServerLast().round_trips(batches).tolist() == [1, 1]


def test_where_gradients_return_nothing_overlaps():
    times = BatchByBatch(one_server_half=False).simulate(work([5, 1], [2, 2], [1, 4], [3, 3]), MANY)
    assert times.client_time_s_P.tolist() == [8, 7]
    assert times.order.tolist() == []


def test_clients_take_turns_at_one_server_half_batch_by_batch():
    """By hand: own work per batch 1 and 4, service 1; the third client has none to send."""
    times = BatchByBatch(one_server_half=True).simulate(work([3, 8, 1], [0, 0, 1], [3, 2, 0], [3, 2, 0]), MANY)
    # Client 0 is served in 1-2 and 3-4; at 4 client 1 arrives and is served in 4-5, client 0 waits from 5 to 5, and
    # is done at 6; client 1 comes back at 9 and is done at 10.
    assert times.order.tolist() == [0, 0, 1, 0, 1]
    assert times.client_time_s_P.tolist() == [6, 10, 2]
    assert times.server_wait_s == 0
    # Equal clients arrive together once; after the first wait they alternate.
    equals = BatchByBatch(one_server_half=True).simulate(work([2, 2], [0, 0], [2, 2], [2, 2]), MANY)
    assert equals.order.tolist() == [0, 1, 0, 1]
    assert equals.client_time_s_P.tolist() == [4, 5]
    assert equals.server_wait_s == 1


times = st.lists(st.tuples(*[st.floats(0, 9)] * 3, st.integers(0, 5)), min_size=1, max_size=6)


@given(times, st.integers(1, 4))
def test_waiting_is_what_is_left_of_the_time_and_never_negative(rows, workers):
    """T_k is the work and the waits, and every batch has its turn."""
    given_work = work(*(list(column) for column in zip(*rows, strict=True)))
    has_batches = given_work.batches_P > 0
    given_work.seconds.service_s[~has_batches] = 0
    alone = given_work.own_s_P + given_work.seconds.service_s
    for timing in (BatchByBatch(one_server_half=False), BatchByBatch(one_server_half=True), ServerLast()):
        times = timing.simulate(given_work, ServerCapacity(workers=workers, cpus=1.0))
        waits = times.client_time_s_P - alone
        assert waits.min() >= -1e-9
        assert waits.sum() == pytest.approx(times.server_wait_s, abs=1e-9)
    turns = BatchByBatch(one_server_half=True).simulate(given_work, ONE)
    assert np.bincount(turns.order, minlength=len(rows)).tolist() == given_work.batches_P.tolist()


def test_a_server_that_comes_last_waits_for_all_but_those_who_dropped_out():
    times = ServerLast().simulate(work([5, 1, 1, 9], [1, 1, 2, 0], [2, 3, 1, 0], [1, 1, 1, 1]), MANY)
    assert times.client_time_s_P.tolist() == [12, 12, 12, 9]
    assert times.server_wait_s == 4 + 7 + 8


def test_what_is_sent_apart_is_sent_once_and_by_nobody_who_drops_out():
    share, per_epoch = np.array([1.0, 0.6, 1.0]), np.array([10, 10, 3])
    trained, sent = ServerLast().batches(share, per_epoch, 2)
    assert (trained.tolist(), sent.tolist()) == ([20, 12, 6], [10, 0, 3])
    for timing in (Overlapping(), BatchByBatch(one_server_half=True)):
        trained, sent = timing.batches(share, per_epoch, 2)
        assert trained.tolist() == sent.tolist() == [20, 12, 6]


@pytest.mark.parametrize(
    ("share", "trained", "sent"),
    [(0.0, 0, 0), (1 / 7, 2, 0), (0.49, 6, 0), (0.5, 7, 0), (0.58, 7, 1), (0.93, 7, 6), (1.0, 7, 7)],
)
def test_who_trains_first_and_drops_out_early_has_sent_nothing(share: float, trained: int, sent: int):
    """Seven batches of training, and then the same seven once more to be sent: fourteen passes."""
    got = Overlapping(trains_first=True).batches(np.array([share]), np.array([7]), 1)
    assert [count.tolist() for count in got] == [[trained], [sent]]


def first_train(training: list[float], releasing: list[float], transfer: list[float], server: list[float]) -> RoundWork:
    """Return the work of clients that train before they send."""
    overlapping = work(training, transfer, server, [1] * len(training))
    releasing_s = np.array(releasing, dtype=np.float64)
    return replace(overlapping, seconds=replace(overlapping.seconds, releasing_s=releasing_s, trains_first=True))


def test_who_trains_first_keeps_the_server_waiting():
    """By hand: T_train + T_com + max(T_release, T_s), where in parallel it was max(T_c, T_s) + T_com."""
    parts = first_train([5, 5], [2, 2], [3, 3], [1, 4])
    times = Overlapping(trains_first=True).simulate(parts, MANY)
    assert times.client_time_s_P.tolist() == [5 + 3 + 2, 5 + 3 + 4]
    assert times.server_wait_s == 0
    streamed = replace(parts, seconds=replace(parts.seconds, trains_first=False))
    assert Overlapping().simulate(streamed, MANY).client_time_s_P.tolist() == [10, 10]
    assert parts.seconds.arrival_s.tolist() == [8, 8]
    assert parts.seconds.computing_s.tolist() == [7, 7]


def test_who_trains_first_queues_when_its_training_is_over():
    """One worker. The first client's data come from 2 to 4, 3 s of work; the second's from 9 to 10, 4 s of work."""
    times = Overlapping(trains_first=True).simulate(first_train([1, 8], [2, 1], [1, 1], [3, 4]), ONE)
    assert times.client_time_s_P.tolist() == [5, 13]
    assert times.server_wait_s == 0
    # If both have trained at 1, 3 + 4 s come in from 2 on: 2 + 7 is when the last is done,
    # which sends until 4.
    times = Overlapping(trains_first=True).simulate(first_train([1, 1], [2, 1], [1, 1], [3, 4]), ONE)
    assert times.client_time_s_P.tolist() == pytest.approx([9, 7.5])
    assert times.server_wait_s == pytest.approx(4 + 1.5)


@given(times, st.integers(1, 7), st.floats(0, 9))
def test_training_first_is_never_faster(rows, workers, release):
    columns = [list(column) for column in zip(*rows, strict=True)][:3]
    apart = first_train(columns[0], [release] * len(rows), *columns[1:])
    streamed = replace(apart, seconds=replace(apart.seconds, trains_first=False))
    capacity = ServerCapacity(workers=workers, cpus=1.0)
    later, sooner = (Overlapping().simulate(one, capacity).client_time_s_P for one in (apart, streamed))
    # Sums of seconds that differ by many orders of magnitude round by more than their last digits.
    assert later.max() >= sooner.max() * (1 - 1e-9)
    if workers >= len(rows):
        assert (later >= sooner * (1 - 1e-9)).all()


def test_one_server_network_takes_batches_as_they_arrive():
    """By hand. Client 0 sends at 1, 3 and 5 what takes 2 s each, client 1 at 2 and 3 what takes 1 s each."""
    times = SharedServer().simulate(work([6, 2], [1, 2], [6, 2], [3, 2]), MANY)
    # 1-3 of client 0, 3-4 of client 1 (since 2), 4-6 of client 0 (since 3), 6-7 of client 1 (since 3), 7-9 of client 0.
    assert times.order.tolist() == [0, 1, 0, 1, 0]
    assert times.client_time_s_P.tolist() == [9, 7]
    assert times.server_wait_s == 9 - 7 + 7 - 4
    assert times.replica_P.tolist() == [0, 0]


def test_batches_of_one_step_are_taken_together_on_workers_of_their_own():
    """By hand, the clients of above, two batches to a step: those of 1 and 2, of 3 and 3, and of 5."""
    given_work = work([6, 2], [1, 2], [6, 2], [3, 2])
    times = SharedServer(merge=2).simulate(given_work, MANY)
    # From 2 to 4, from 4 (there since 3) to 6, from 6 (there since 5) to 8.
    assert times.order.tolist() == [0, 1, 0, 1, 0]
    assert times.client_time_s_P.tolist() == [8, 6]
    # One worker computes the two of a step one after the other: from 2 to 5, to 8, and to 10.
    assert SharedServer(merge=2).simulate(given_work, ONE).client_time_s_P.tolist() == [10, 8]
    assert [SharedServer(replicas=2, merge=n).queues(FIVE) for n in (1, 2, 3)] == [
        2,
        4,
        5,
    ]


def test_networks_with_steps_on_several_batches_share_the_workers():
    """Of five workers each of two networks has two, by hand: three batches of 1 s each that are there at once."""
    times = SharedServer(replicas=2, merge=3).simulate(work([0, 0], [0, 0], [3, 3], [3, 3]), FIVE)
    assert times.client_time_s_P.tolist() == [2, 2]


def test_a_client_without_work_for_the_server_waits_for_nobody():
    times = SharedServer().simulate(work([3, 9], [1, 1], [8, 0], [4, 5]), MANY)
    assert times.order.tolist() == [0] * 4
    assert times.client_time_s_P.tolist() == [9, 10]


def test_networks_get_about_equal_work_and_wait_where_workers_are_fewer():
    given_work = work([0, 0, 0, 0], [0, 0, 0, 0], [5, 4, 3, 2], [1, 1, 1, 1])
    two = SharedServer(replicas=2).simulate(given_work, MANY)
    assert two.replica_P.tolist() == [0, 1, 1, 0]
    assert two.client_time_s_P.max() == 7
    assert SharedServer(replicas=2).simulate(given_work, ONE).client_time_s_P.max() == 14
    assert [SharedServer(replicas=n).queues(MANY) for n in (1, 2)] == [1, 2]
    assert SharedServer(replicas=2).queues(ONE) == 1


@given(times, st.integers(0, 3))
def test_a_network_for_each_client_takes_dtfls_time_and_fewer_are_never_faster(rows, fewer):
    columns = [list(column) for column in zip(*rows, strict=True)][:3]
    given_work = work(*columns, [3] * len(rows))
    many = ServerCapacity(workers=len(rows), cpus=1.0)
    papers = Overlapping().simulate(given_work, many).client_time_s_P
    own = SharedServer(replicas=len(rows)).simulate(given_work, many)
    assert own.client_time_s_P == pytest.approx(papers, rel=1e-9, abs=1e-12)
    assert own.server_wait_s == pytest.approx(0, abs=1e-9)
    shared = SharedServer(replicas=max(1, len(rows) - fewer)).simulate(given_work, many)
    assert (shared.client_time_s_P >= papers * (1 - 1e-9) - 1e-12).all()
