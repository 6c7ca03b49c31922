import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dtfl_private.environment.server import queue

JOBS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6)), min_size=1, max_size=9)


def played_second_by_second(jobs: list[tuple[int, int]], workers: int) -> list[int]:
    """Let a shop with a waiting room run: at each second free workers take who waits, first come first served.

    Who needs no work does not wait.
    """
    start = [arrival if work == 0 else -1 for arrival, work in jobs]
    busy_until = [0] * workers
    waiting = sorted((job for job in range(len(jobs)) if jobs[job][1]), key=lambda job: (jobs[job][0], job))
    now = 0
    while waiting:
        for worker in range(workers):
            while waiting and busy_until[worker] <= now and jobs[waiting[0]][0] <= now:
                job = waiting.pop(0)
                start[job], busy_until[worker] = now, now + jobs[job][1]
        now += 1
    return start


@settings(max_examples=200, deadline=None, derandomize=True)
@given(JOBS, st.integers(1, 10))
def test_queue_equals_a_plain_simulation(jobs: list[tuple[int, int]], workers: int):
    arrival, service = np.array(jobs, dtype=np.float64).T
    assert queue(arrival, service, workers).tolist() == played_second_by_second(jobs, workers)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(JOBS)
def test_nobody_waits_when_there_is_a_worker_for_each_job(jobs: list[tuple[int, int]]):
    arrival, service = np.array(jobs, dtype=np.float64).T
    for workers in (len(jobs), len(jobs) + 3):
        assert np.array_equal(queue(arrival, service, workers), arrival)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(JOBS, st.integers(1, 8))
def test_one_more_worker_delays_nobody(jobs: list[tuple[int, int]], workers: int):
    arrival, service = np.array(jobs, dtype=np.float64).T
    assert (queue(arrival, service, workers + 1) <= queue(arrival, service, workers)).all()


def test_ties_are_served_in_the_order_of_the_arrays():
    together = np.zeros(3)
    assert queue(together, np.array([5.0, 1.0, 2.0]), workers=1).tolist() == [0, 5, 6]
    assert queue(together, np.array([5.0, 1.0, 2.0]), workers=2).tolist() == [0, 0, 1]


def test_queue_leaves_its_arguments_alone():
    arrival, service = np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 1.0])
    queue(arrival, service, workers=1)
    assert arrival.tolist() == [3, 1, 2]
    assert service.tolist() == [1, 1, 1]


@settings(max_examples=50, deadline=None, derandomize=True)
@given(JOBS, st.integers(1, 3))
def test_a_job_without_work_waits_for_nobody_and_keeps_nobody_waiting(jobs: list[tuple[int, int]], workers: int):
    arrival, service = np.array(jobs, dtype=np.float64).T
    start = queue(arrival, service, workers)
    assert np.array_equal(start[service == 0], arrival[service == 0])
    working = service > 0
    assert np.array_equal(start[working], queue(arrival[working], service[working], workers))
