"""Measure what 100 to 10,000 clients that join, leave and drop out cost the server: seconds of scheduling, and memory.

    python -m benchmarks.churn [--clients 100,1000,10000] [--repeats 5] [--images 20000] [--no-trainings]

A scheduled round, by the CPU time of its thread, with and without churn; the memory that it takes, by Python's and
NumPy's own count; and training processes with one worker, whose resident set the operating system counts.
"""

import resource
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import click
import numpy as np
from rich.console import Console

from benchmarks.host import host_line
from benchmarks.throughput import spread
from dtfl_private import TrainConfig, train
from dtfl_private.experiments.setup.schedule_settings import schedule_settings
from dtfl_private.models.build import build_description
from dtfl_private.numerics import Numerics
from dtfl_private.report.tables.plain import plain_table
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.device import one_thread
from dtfl_private.simulation.costs.analysis import analyse
from dtfl_private.simulation.costs.table import TierTable
from dtfl_private.simulation.schedule_round import schedule_round
from dtfl_private.simulation.schedule_state import ScheduleSettings, ScheduleState
from dtfl_private.simulation.schedulers.named import make_scheduler
from dtfl_private.training.round_record import Record

CHURN = {"leave": 0.2, "join": 0.8, "absent": 0.2, "dropout": 0.2}
STILL = {"leave": 0.0, "join": 0.0, "absent": 0.0, "dropout": 0.0}
ROUNDS = 40
"""Scheduled rounds of which the median counts."""

TRAINED = (2, 8)
"""After these rounds of a training its peak memory is read."""


def settings_of(clients: int, scheduler: str, churn: dict[str, float], table: TierTable) -> ScheduleSettings:
    """Return the schedule of so many clients, of which a tenth takes part in each round."""
    config = TrainConfig.model_validate(
        {"clients": clients, "fraction": 0.1, "drift_share": 0.3, "drift_every": 20, "server_workers": 1000, **churn}
    )
    images_K = np.full(clients, 500)
    return schedule_settings(config, table, make_scheduler(scheduler, table.tiers_M), images_K)


def median_ms(settings: ScheduleSettings) -> float:
    """Return the median milliseconds of the scheduled rounds of a run."""
    state, taken = ScheduleState.start(settings), []
    for number in range(1, ROUNDS + 1):
        start = time.thread_time()
        state, _ = schedule_round(state, settings, number)
        taken.append(time.thread_time() - start)
    return statistics.median(taken) * 1e3


def peaks_kib(settings: ScheduleSettings) -> tuple[float, float]:
    """Return the most memory that a scheduled round takes, states included: of the first ten rounds, of the last."""
    tracemalloc.start()
    state, peaks = ScheduleState.start(settings), []
    for number in range(1, ROUNDS + 1):
        tracemalloc.reset_peak()
        state, _ = schedule_round(state, settings, number)
        peaks.append(tracemalloc.get_traced_memory()[1] / 1024)
    tracemalloc.stop()
    return max(peaks[:10]), max(peaks[-10:])


class Peaks(Callback):
    """Prints the process's peak resident set after some rounds."""

    def round_finished(self, record: Record) -> None:
        """Print it, in KiB."""
        if record["round"] in TRAINED:
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)


def train_here(clients: int, images: int, folder: str) -> None:
    """Train under churn, a fiftieth of the clients a round, and print peaks.

    The last round is one more than is read: with it the run's end, and what draws its pictures, are loaded.
    """
    values = {"dataset": "fashion-mnist", "max_train_images": images, "validation": 0.02, "judged_on": "validation"}
    run = {
        "clients": clients,
        "fraction": 0.02,
        "batch_size": 10,
        "rounds": TRAINED[-1] + 1,
        "workers": 1,
        "device": "cpu",
    }
    train(TrainConfig.model_validate({**values, **run, **CHURN}), out=folder, callbacks=[Peaks()])


def peaks_mib(clients: int, images: int, folder: Path) -> list[float]:
    """Return the peak resident set in MiB after each of `TRAINED` rounds, of a fresh process."""
    arguments = [sys.executable, "-m", "benchmarks.churn", "--train", str(clients), "--images", str(images)]
    done = subprocess.run([*arguments, "--out", str(folder)], stdout=subprocess.PIPE, text=True, check=True)
    return [int(kib) / 1024 for kib in done.stdout.split()]


def scheduling(counts: list[int], repeats: int, console: Console) -> None:
    """Print what a scheduled round takes, in milliseconds and in memory."""
    model = build_description("resnet-56", input_shape=(3, 32, 32), classes=10, norm="batch", seed=0)
    table = analyse(model, (3, 32, 32), 10, Numerics())
    columns = (
        "clients",
        "scheduler",
        "ms, nobody leaves",
        "ms, churn",
        "churn / nobody leaves",
        "KiB",
        "KiB at the end",
    )
    shown = plain_table(f"a scheduled round, a tenth of the clients, ResNet-56, n = {repeats}", *columns)
    for clients in counts:
        for scheduler in ("dynamic", "efficient"):
            still, churning = (settings_of(clients, scheduler, churn, table) for churn in (STILL, CHURN))
            pairs = [(median_ms(still), median_ms(churning)) for _ in range(repeats)]
            early, late = peaks_kib(churning)
            shown.add_row(
                f"{clients:,}",
                scheduler,
                *(spread(list(values), 2) for values in zip(*pairs, strict=True)),
                spread([after / before for before, after in pairs], 2),
                f"{early:,.0f}",
                f"{late:,.0f}",
            )
    console.print(shown)


def training(counts: list[int], repeats: int, images: int, console: Console) -> None:
    """Print the peak memory of training processes."""
    rounds = [f"MiB after {number} rounds" for number in TRAINED]
    shown = plain_table(
        f"a training under churn, {images:,} images dealt out, n = {repeats}", "clients", *rounds, "ratio"
    )
    with tempfile.TemporaryDirectory() as scratch:
        for clients in counts:
            found = [peaks_mib(clients, images, Path(scratch, f"{clients}-{n}")) for n in range(repeats)]
            ratios = [peaks[-1] / peaks[0] for peaks in found]
            shown.add_row(
                f"{clients:,}", *(spread(list(one), 0) for one in zip(*found, strict=True)), spread(ratios, 3)
            )
    console.print(shown)


@click.command()
@click.option("--clients", default="100,1000,10000", show_default=True, help="numbers of clients")
@click.option("--images", default=20000, show_default=True, help="training images of each training")
@click.option("--repeats", default=5, show_default=True)
@click.option("--trainings/--no-trainings", default=True, show_default=True, help="also measure training processes")
@click.option("--train", "trained", type=int, help="only train so many clients, and print peaks")
@click.option("--out", help="run folder of that training")
def main(clients: str, images: int, repeats: int, trainings: bool, trained: int | None, out: str) -> None:
    """Print milliseconds, KiB and MiB, median (min-max) over the repeats."""
    if trained is not None:
        train_here(trained, images, out)
        return
    console, counts = Console(width=130), [int(count) for count in clients.split(",")]
    with one_thread():
        scheduling(counts, repeats, console)
    if trainings:
        training(counts, repeats, images, console)
    console.print(host_line(), soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
