"""Measure what the simulated clock simplifies, and what wrong profiles cost the schedulers; nothing is trained.

python -m benchmarks.time_model [--seeds 10]
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import click
import numpy as np
from rich.console import Console

from benchmarks.host import host_line
from dtfl_private import TrainConfig, plan
from dtfl_private.experiments.config.train_config import make_config
from dtfl_private.experiments.setup.named_plugins import make_method
from dtfl_private.experiments.setup.schedule_settings import method_schedule
from dtfl_private.models.build import build_description
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.contracts import FloatArray
from dtfl_private.report.tables.plain import plain_table
from dtfl_private.simulation.costs.table import TierTable
from dtfl_private.simulation.schedule_round import schedule_round
from dtfl_private.simulation.schedule_state import ScheduleState
from dtfl_private.simulation.server_queue import ServerCapacity
from dtfl_private.simulation.timing import Overlapping, RoundTimes, RoundWork

SERVERS = ((1, 1.0), (1, 8.0), (3, 1.0))
"""Workers, and the speed of each in reference CPUs: those of the preset `server-capacity`, and three slow ones."""

PROFILE_ERRORS = (0.0, 0.1, 0.2, 0.4)
SCHEDULERS = ("dynamic", "efficient", "static-profile", "static:1")
IMAGES, INPUT = 300, (1, 28, 28)


def configured(seed: int, **values: object) -> TrainConfig:
    """Return the small size of the preset `server-capacity`, all of its rounds."""
    preset: dict[str, object] = {"model": "resnet-8", "batch_size": 16, "rounds": 18, "precision": "bf16"}
    preset |= {"clients": 10, "link_unit": "mbyte", "drift_share": 0.3, "drift_every": 6, "seed": seed}
    return make_config({**preset, **values})


def papers(seed: int, **values: object) -> TrainConfig:
    """Return ten clients of the paper's profiles and CIFAR-10's 50,000 images; nobody changes."""
    return make_config({"batch_size": 100, "rounds": 20, "clients": 10, "link_unit": "mbyte", "seed": seed, **values})


@dataclass(frozen=True, kw_only=True)
class Noted(Overlapping):
    """The time model, which keeps what it was asked to simulate."""

    simulated: list[RoundWork] = field(default_factory=list)

    def simulate(self, work: RoundWork, server: ServerCapacity) -> RoundTimes:
        """Return how the round goes."""
        self.simulated.append(work)
        return super().simulate(work, server)


def rounds_of(config: TrainConfig, table: TierTable) -> Iterator[tuple[float, RoundWork]]:
    """Yield each round's simulated seconds and its work."""
    method, timing = make_method(config.method), Noted()
    schedule = method_schedule(config, method, table, None, np.full(config.clients, IMAGES), DefenseChain())
    settings = replace(schedule, timing=timing)
    state = ScheduleState.start(settings)
    for number in range(1, config.rounds + 1):
        timing.simulated.clear()
        state, planned = schedule_round(state, settings, number)
        yield planned.round_time_s, timing.simulated[0]  # the second is the oracle's


def batch_by_batch_s(work: RoundWork, workers: int) -> float:
    """Return how long a round lasts if a free worker takes the batch that arrived first, one of a client at a time."""
    seconds, batches = work.seconds, work.batches_P.tolist()
    done_s = (seconds.arrival_s + seconds.streaming_s).max()

    def arrival_s(client: int, batch: int) -> float:
        return float(seconds.arrival_s[client] + batch / batches[client] * seconds.streaming_s[client])

    # Batches that wait, by arrival; clients whose next batch is not there yet, or is in work, by when it can be taken.
    later = [(arrival_s(client, 0), client, 0) for client in range(len(batches)) if seconds.service_s[client] > 0]
    heapq.heapify(later)
    waiting: list[tuple[float, int, int]] = []
    free_s = [0.0] * workers
    while later or waiting:
        now_s = heapq.heappop(free_s)
        if not waiting:
            now_s = max(now_s, later[0][0])
        while later and later[0][0] <= now_s:
            _, client, batch = heapq.heappop(later)
            heapq.heappush(waiting, (arrival_s(client, batch), client, batch))
        _, client, batch = heapq.heappop(waiting)
        end_s = now_s + seconds.service_s[client] / batches[client]
        heapq.heappush(free_s, end_s)
        done_s = max(done_s, end_s)
        if batch + 1 < batches[client]:
            heapq.heappush(later, (max(end_s, arrival_s(client, batch + 1)), client, batch + 1))
    return float(done_s)


def spread(values: FloatArray, unit: str = "") -> str:
    """Return mean and standard deviation."""
    return f"{values.mean():.1f}{unit} ± {values.std(ddof=1):.1f}"


@click.command()
@click.option("--seeds", default=10, show_default=True)
def main(seeds: int) -> None:
    """Print means and standard deviations over the seeds."""
    console = Console(width=120)
    table = plan(configured(0, rounds=1), input_shape=INPUT, images_per_client=IMAGES).table
    queues = plain_table(
        f"seconds of 18 rounds, n = {seeds}", "workers x CPUs", "scheduler", "clock", "batch by batch", "off by, most"
    )
    for (workers, cpus), scheduler in ((server, name) for server in SERVERS for name in SCHEDULERS):
        both = []
        for seed in range(seeds):
            config = configured(seed, server_workers=workers, server_cpus=cpus, scheduler=scheduler)
            simulated = [(seconds, batch_by_batch_s(work, workers)) for seconds, work in rounds_of(config, table)]
            both.append(np.array(simulated).sum(axis=0))
        clock_S, exact_S = np.array(both).T
        off = 100 * (clock_S / exact_S - 1)
        most = off[np.abs(off).argmax()]
        queues.add_row(f"{workers} x {cpus:g}", scheduler, spread(clock_S), spread(exact_S), f"{most:+.1f} %")
    console.print(queues)

    model = build_description("resnet-56", input_shape=(3, 32, 32), classes=10, norm="batch", seed=0)
    wrong = plain_table(
        f"regret in %, ResNet-56, 20 rounds, n = {seeds}", "profile error", *SCHEDULERS, "worst of dynamic"
    )
    for error in PROFILE_ERRORS:
        regrets: dict[str, list[float]] = {name: [] for name in SCHEDULERS}
        for seed in range(seeds):
            config = papers(seed, profile_error=error)
            planned = plan(config, images_per_client=5000, model=model, compare_schedulers=True, compare_static=True)
            times = {**planned.scheduler_time_s, "static:1": planned.static_time_s[1]}
            for name in SCHEDULERS:
                regrets[name].append(100 * (planned.regret(times[name]) or 0.0))
        shown = [spread(np.array(regrets[name])) for name in SCHEDULERS]
        wrong.add_row(f"{error:g}", *shown, f"{max(regrets['dynamic']):.1f}")
    console.print(wrong)
    console.print(host_line(), soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
