import os
import resource
import signal
from contextlib import contextmanager
from dataclasses import replace
from itertools import count, islice
from pathlib import Path

import pytest
import torch

from dtfl_private.errors import NonFiniteLossError, WorkerError
from dtfl_private.runtime import evaluation, shared_block
from dtfl_private.runtime import worker_pool as worker_processes
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.executors import open_executor
from dtfl_private.runtime.worker_pool import WorkerProcesses
from dtfl_private.training.round import run_round
from dtfl_private.training.tasks import ClientTask


def weights_of(state) -> dict[str, torch.Tensor]:
    heads = {f"{tier}/{name}": t for tier, head in state.weights.heads.items() for name, t in head.items()}
    return {**state.weights.model, **heads}


@contextmanager
def few_more_files(monkeypatch, files: int):
    """Let this process open so many more files; the limit is not raised, as if the hard one were no higher."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = {int(path.name) for path in Path("/dev/fd").iterdir()}
    last = next(islice((number for number in count() if number not in used), files - 1, None))
    monkeypatch.setattr(worker_processes, "raise_open_files_limit", lambda: None)
    resource.setrlimit(resource.RLIMIT_NOFILE, (last + 1, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_worker_processes_give_the_same_rounds_bit_for_bit_and_their_failures_are_named(
    prepare_tiny, play, monkeypatch
):
    """One pool for all of it, for starting one takes seconds.

    It may open fewer files than the network has tensors: a network of some hundred layers meets the usual limit.
    """
    monkeypatch.setattr(evaluation, "EVALUATION_BATCH", 5)
    prepared = prepare_tiny(clients=7, dropout=0.2, augment=["crop"], defense=["identity"], local_epochs=2)
    assert len(weights_of(prepared.initial)) == 24
    with few_more_files(monkeypatch, 20):
        pool = open_executor(prepared.worker, 2)
        assert isinstance(pool, WorkerProcesses)
        pool.start()
    state, trained = prepared.initial, False
    for expected, figures in play(prepared, 2):
        state, outcome = run_round(prepared.method, state, prepared.settings, pool, Callback())
        ours, theirs = weights_of(state), weights_of(expected)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
        for field in ("test_accuracy", "test_loss", "local_loss", "server_loss", "traffic", "macs", "virtual_time_s"):
            assert getattr(outcome, field) == getattr(figures, field)
        assert state.plateau == expected.plateau
        trained = trained or bool(outcome.plan.dropped_P.any())
    assert trained, "a client should have dropped out in these rounds"

    tasks = [ClientTask(client=k, round=1, tier=1, lr=0.1, batches=1, completes=True) for k in (6, 2, 4, 0, 5, 1, 3)]
    assert [result.client for result in pool.train(tasks, state.weights)] == [6, 2, 4, 0, 5, 1, 3]

    hot = ClientTask(client=5, round=9, tier=1, lr=1e30, batches=4, completes=True)
    with pytest.raises(NonFiniteLossError, match=r"local loss of client 5 became .* in round 9"):
        list(pool.train([hot], state.weights))

    processes = list(pool._pool._processes.values())
    assert len(processes) == 2
    os.kill(processes[0].pid, signal.SIGKILL)
    processes[0].join()
    said = (
        "a worker process died: it was ended by signal SIGKILL; a guess: the system ran out of memory, or somebody "
        "killed it; go on with --resume, perhaps with fewer --workers"
    )
    with pytest.raises(WorkerError, match=f"^{said}$"):
        pool.evaluate(state.weights.model)
    pool.close()
    assert not any(process.is_alive() for process in processes)


class Dies:
    """A method's part that ends the process in which it is unpacked."""

    def __reduce__(self):
        return os._exit, (7,)


def test_workers_that_cannot_be_started_say_why(prepare_tiny, monkeypatch):
    setup = prepare_tiny().worker
    with few_more_files(monkeypatch, 3), pytest.raises(WorkerError, match=r"too many open files .*ulimit -n"):
        open_executor(setup, 2)
    pool = WorkerProcesses(replace(setup, work=Dies()), 1)
    said = "died: it ended with exit status 7; .*; a guess: a script that trains outside `if __name__ .*use --workers 1"
    with pytest.raises(WorkerError, match=said):
        pool.start()
    pool.close()


def test_shared_memory_that_is_full_is_said_whoever_wanted_it(prepare_tiny, monkeypatch):
    def full(*_):
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")

    for place in (worker_processes, shared_block):
        with monkeypatch.context() as patch:
            patch.setattr(place, "share", full)
            with pytest.raises(WorkerError, match=r"do not fit into shared memory .*enlarge /dev/shm"):
                open_executor(prepare_tiny().worker, 2)
