"""Compare DTFL's schedulers by short trainings: simulated time to a target accuracy, server scarce and ample.

python -m benchmarks.schedulers [--seeds 5]
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import click
import numpy as np
from rich.console import Console

from benchmarks.host import host_line
from dtfl_private import TrainConfig, train
from dtfl_private.experiments.config.train_config import make_config
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.run_folder.rounds_file import read_records
from dtfl_private.report.tables.plain import plain_table

SERVERS = {"scarce": (2, 1.0), "slow": (2, 2.0), "ample": (16, 8.0)}
"""Workers, and the speed of each in reference CPUs."""

SCHEDULERS = (
    "dynamic",
    "efficient",
    "efficient:rounds_ratio=1.6",
    "efficient:rounds_ratio=0.625",
    "static:1",
    "static:4",
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One run until its target: simulated seconds and rounds, None if it did not get there; regret in per cent."""

    time_s: float | None
    rounds: int | None
    regret: float
    mean_tier: float


def configured(scheduler: str, server: tuple[int, float], partition: str, seed: int, rounds: int) -> TrainConfig:
    """Return ten clients of the paper's profiles on the digits; 30 % change every fifth round, noise 0.2."""
    values: dict[str, object] = {
        "dataset": "digits",
        "model": "resnet-8",
        "clients": 10,
        "batch_size": 16,
        "rounds": rounds,
    }
    values |= {"partition": partition, "profiles": "paper", "link_unit": "mbyte", "cpu_gmacs": 0.1, "device": "cpu"}
    values |= {"noise": 0.2, "drift_share": 0.3, "drift_every": 5, "target_accuracy": 0.9, "stop_at_target": True}
    values |= {"scheduler": scheduler, "server_workers": server[0], "server_cpus": server[1], "seed": seed}
    return make_config(values)


def outcome(config: TrainConfig) -> Outcome:
    """Train until the target and return what is compared."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        summary = train(config, out=out).summary
        records, _ = read_records(RunFolder(path=out))
    oracle_s = sum(record["oracle_time_s"] or 0.0 for record in records)
    tiers = [tier for record in records for tier in record["tiers"].values()]
    return Outcome(
        time_s=summary["time_to_target_s"],
        rounds=summary["rounds_to_target"],
        regret=100 * (summary["virtual_time_s"] / oracle_s - 1),
        mean_tier=float(np.mean(tiers)),
    )


def spread(values: Sequence[float], digits: int) -> str:
    """Return mean and standard deviation."""
    if not values:
        return "-"
    deviation = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return f"{np.mean(values):.{digits}f} ± {deviation:.{digits}f}"


def row(scheduler: str, outcomes: Sequence[Outcome], first: Sequence[Outcome]) -> tuple[str, ...]:
    """Return a scheduler's line of the table; the ratio is to the first one's, seed by seed."""
    times = [outcome.time_s for outcome in outcomes if outcome.time_s is not None]
    ratios = [
        own.time_s / other.time_s
        for own, other in zip(outcomes, first, strict=True)
        if own.time_s is not None and other.time_s is not None
    ]
    return (
        scheduler,
        f"{len(times)}/{len(outcomes)}",
        spread(times, 1),
        spread(ratios, 2),
        f"{sum(ratio < 1 for ratio in ratios)}/{len(ratios)}",
        spread([outcome.rounds for outcome in outcomes if outcome.rounds is not None], 1),
        spread([outcome.regret for outcome in outcomes], 0),
        f"{np.mean([outcome.mean_tier for outcome in outcomes]):.2f}",
    )


@click.command()
@click.option("--seeds", default=5, show_default=True)
@click.option("--rounds", default=60, show_default=True, help="at most so many for a run")
@click.option("--partition", default="iid", show_default=True)
@click.option("--server", "servers", multiple=True, type=click.Choice(list(SERVERS)), default=tuple(SERVERS))
@click.option("--scheduler", "schedulers", multiple=True, default=SCHEDULERS, help="the first is compared with")
def main(seeds: int, rounds: int, partition: str, servers: Sequence[str], schedulers: Sequence[str]) -> None:
    """Print one table per server; a finished run prints a line of its own to standard error."""
    console = Console(width=150)
    for name in servers:
        workers, cpus = SERVERS[name]
        title = f"digits, {partition}, ResNet-8, to 90 %; {workers} server workers of {cpus:g} CPUs; ± sd, n = {seeds}"
        columns = ("reached", "seconds", "of the first's", "faster", "rounds", "regret, %", "mean tier")
        table = plain_table(title, "scheduler", *columns)
        outcomes: dict[str, list[Outcome]] = {scheduler: [] for scheduler in schedulers}
        for seed, scheduler in product(range(seeds), schedulers):
            outcomes[scheduler].append(outcome(configured(scheduler, SERVERS[name], partition, seed, rounds)))
            click.echo(f"{name} {scheduler} seed {seed}: {outcomes[scheduler][-1]}", err=True)
        for scheduler, of_scheduler in outcomes.items():
            table.add_row(*row(scheduler, of_scheduler, outcomes[schedulers[0]]))
        console.print(table)
    console.print(host_line(), soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
