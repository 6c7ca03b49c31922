"""Measure a round in Ray actors of this machine against the same round in worker processes, and what memory it takes.

    python -m benchmarks.cluster [--clients 1000,10000] [--participants 100] [--workers 2] [--pairs 7]

The data set is made up, two images of 3x32x32 per client. Both executors train ResNet-8 on the same clients from the
same weights, and take turns, so that what else the machine does meets both; each pair gives one ratio, after a pair
that does not count. The rounds' weights are compared. Memory is the proportional set size of this program and of the
actors, after the first pair and after the last. Needs the extra ``ray``. Linux only.
"""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
import torch
from rich.console import Console

from benchmarks.host import host_line
from benchmarks.images import made_up
from benchmarks.throughput import spread
from dtfl_private import TrainConfig
from dtfl_private.experiments.setup.prepare import Prepared, prepare
from dtfl_private.experiments.setup.run_objects import RunObjects
from dtfl_private.report.tables.plain import plain_table
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.device import one_thread
from dtfl_private.runtime.executor_choice import RayChoice
from dtfl_private.runtime.ray_clients import RayClients
from dtfl_private.runtime.worker_pool import WorkerProcesses
from dtfl_private.training.executor import Executor
from dtfl_private.training.round import run_round
from dtfl_private.training.state import FederatedState

IMAGES_PER_CLIENT = 2


def prepared_run(clients: int, participants: int) -> Prepared:
    """Prepare a run of so many clients, of which so many take part in a round."""
    config = TrainConfig.model_validate(
        {"clients": clients, "fraction": participants / clients, "batch_size": 2, "device": "cpu", "rounds": 1000}
    )
    return prepare(config, RunObjects(dataset=made_up(clients * IMAGES_PER_CLIENT)))


def timed(prepared: Prepared, state: FederatedState, executor: Executor) -> tuple[float, FederatedState]:
    """Return the seconds that a round takes, and the state after it."""
    start = time.perf_counter()
    state, _ = run_round(prepared.method, state, prepared.settings, executor, Callback())
    return time.perf_counter() - start, state


def require_same(one: FederatedState, other: FederatedState) -> None:
    """End the benchmark if two rounds came to different weights."""
    if not all(torch.equal(tensor, other.weights.model[name]) for name, tensor in one.weights.model.items()):
        raise SystemExit("the two executors came to different weights")


def pss_mib(*processes: int) -> float:
    """Return the memory of processes of this machine."""
    rollups = [Path(f"/proc/{process}/smaps_rollup").read_text() for process in processes]
    lines = [line for rollup in rollups for line in rollup.splitlines() if line.startswith("Pss:")]
    return sum(int(line.split()[1]) for line in lines) / 1024


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Seconds of a round by processes and by actors, pair by pair; memory of driver and actors, MiB, after each."""

    own: list[float] = field(default_factory=list)
    ray: list[float] = field(default_factory=list)
    driver: list[float] = field(default_factory=list)
    actors: list[float] = field(default_factory=list)


def measured(clients: int, participants: int, workers: int, pairs: int) -> Measured:
    """Return what rounds with so many clients take, and a first pair before."""
    prepared = prepared_run(clients, participants)
    state, found = prepared.initial, Measured()
    processes = WorkerProcesses(prepared.worker, workers)
    actors = RayClients(prepared.worker, RayChoice(address="local", actors=workers), participants)
    try:
        processes.start()
        actors.start()
        for number in range(pairs + 1):
            turns: list[tuple[Executor, list[float]]] = [(processes, found.own), (actors, found.ray)]
            after = []
            for executor, seconds in turns if number % 2 else turns[::-1]:
                taken_s, ended = timed(prepared, state, executor)
                seconds.append(taken_s)
                after.append(ended)
            require_same(*after)
            state = after[0]
            found.driver.append(pss_mib(os.getpid()))
            found.actors.append(pss_mib(*(node.process for node in actors.nodes)))
    finally:
        processes.close()
        actors.close()
    return found


@click.command()
@click.option("--clients", default="1000,10000", show_default=True, help="numbers of clients to compare")
@click.option("--participants", default=100, show_default=True, help="clients of a round")
@click.option("--workers", default=2, show_default=True, help="processes, and actors")
@click.option("--pairs", default=7, show_default=True)
def main(clients: str, participants: int, workers: int, pairs: int) -> None:
    """Print seconds of a round and their ratio, median (min-max), and memory after the first pair and the last."""
    table = plain_table(
        f"ResNet-8, {participants} clients a round, {workers} workers, n = {pairs} pairs",
        *("clients", "processes, s", "Ray actors, s", "Ray / processes", "driver, MiB", "actors, MiB"),
    )
    with one_thread():
        for count in map(int, clients.split(",")):
            found = measured(count, participants, workers, pairs)
            ratios = list(np.divide(found.ray, found.own)[1:])
            memory = [f"{kept[0]:.0f}, then {kept[-1]:.0f}" for kept in (found.driver, found.actors)]
            table.add_row(f"{count:,}", spread(found.own[1:], 2), spread(found.ray[1:], 2), spread(ratios, 3), *memory)
    console = Console(width=140)
    console.print(table)
    console.print(host_line(), soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
