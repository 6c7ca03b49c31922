import multiprocessing
import os

import pytest

from dtfl_private.errors import RunError
from dtfl_private.runtime.jobs import Ended, Reported, processes_kept, run_jobs


def work(job, report):
    """What the processes do: tell of each step, and end as the job says."""
    steps, end = job
    for step in range(steps):
        report(("step", step))
    if end == "fail":
        raise RunError("it could not go on")
    if end == "stumble":
        raise ZeroDivisionError("by\nzero")
    if end == "die":
        os._exit(3)


JOBS = [(2, "well"), (1, "fail"), (0, "stumble"), (1, "well")]
SUCCESSES = {0: None, 1: "it could not go on", 2: "ZeroDivisionError: by zero", 3: None}


def outcome(jobs, processes):
    heard = []
    run_jobs(work, jobs, processes, heard.append)
    told = {
        job: [event.what for event in heard if event.job == job and isinstance(event, Reported)] for job in range(4)
    }
    return told, {event.job: event.error for event in heard if isinstance(event, Ended)}, heard


def test_jobs_in_this_process_tell_as_they_go_and_failures_do_not_end_the_others():
    told, ends, heard = outcome(JOBS, 1)
    assert told == {job: [("step", step) for step in range(JOBS[job][0])] for job in range(4)}
    assert ends == SUCCESSES
    assert [event.job for event in heard] == sorted(event.job for event in heard)


def test_processes_do_the_same_and_one_that_dies_takes_only_its_job_along():
    told, ends, _ = outcome([*JOBS, (1, "die")], 2)
    assert told == {job: [("step", step) for step in range(JOBS[job][0])] for job in range(4)}
    assert ends == {
        **SUCCESSES,
        4: "its process died: it ended with exit status 3; an error of its own is shown above, if it had one",
    }
    assert multiprocessing.active_children() == []


def begin():
    """What kept processes do first."""
    global begun
    begun = os.getpid()


begun = 0


def tell_processes(_job, report):
    report((begun, os.getpid()))


def fail_to_begin():
    raise ZeroDivisionError


def die():
    os._exit(9)


def test_kept_processes_begin_ahead_and_serve_several_calls():
    heard = []
    with processes_kept(2, begin):
        children = {process.pid for process in multiprocessing.active_children()}
        assert len(children) == 2
        for _ in range(2):
            run_jobs(tell_processes, [None] * 4, 2, heard.append)
    told = [event.what for event in heard if isinstance(event, Reported)]
    assert len(told) == 8
    assert all(begun == own for begun, own in told)
    assert {own for _, own in told} <= children
    assert multiprocessing.active_children() == []


def test_a_kept_process_that_dies_is_replaced_and_one_that_began_badly_works():
    with processes_kept(2, fail_to_begin):
        _, ends, _ = outcome([(0, "die"), *JOBS], 2)
        assert ends[0].startswith("its process died")
        assert [ends[job + 1] for job in SUCCESSES] == list(SUCCESSES.values())
    assert multiprocessing.active_children() == []


def test_kept_processes_that_died_while_they_waited_are_replaced():
    with processes_kept(2, die):
        for process in multiprocessing.active_children():
            process.join()
        _, ends, _ = outcome(JOBS, 2)
    assert ends == SUCCESSES
    assert multiprocessing.active_children() == []


def test_one_kept_process_is_none():
    with processes_kept(1, begin):
        assert multiprocessing.active_children() == []


def test_ctrl_c_ends_kept_processes_too():
    def press(_event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), processes_kept(2, begin):
        run_jobs(work, JOBS[:1], 2, press)
    assert multiprocessing.active_children() == []


def test_ctrl_c_ends_the_processes():
    def press(_event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs(work, JOBS[:1], 2, press)
    assert multiprocessing.active_children() == []
