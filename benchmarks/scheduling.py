"""Measure the scheduler: the dynamic choice alone, a scheduled round, and a whole plan.

python -m benchmarks.scheduling [--repeats 7]
"""

import time
from collections.abc import Callable

import click
import numpy as np
from rich.console import Console

from benchmarks.host import host_line
from benchmarks.throughput import spread
from dtfl_private import TierChoice, TrainConfig, plan
from dtfl_private.experiments.setup.schedule_settings import schedule_settings
from dtfl_private.models.build import build_model
from dtfl_private.numerics import Numerics
from dtfl_private.report.tables.plain import plain_table
from dtfl_private.simulation.costs.analysis import analyse
from dtfl_private.simulation.costs.table import TierTable
from dtfl_private.simulation.estimates import estimate
from dtfl_private.simulation.schedule_round import schedule_round
from dtfl_private.simulation.schedule_state import ScheduleState
from dtfl_private.simulation.schedulers.dynamic import Dynamic


def seconds(call: Callable[[], object], repeats: int) -> list[float]:
    """Return the wall times of repeated calls, after one that is not counted."""
    call()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return taken


def tier_choice(clients: int, table: TierTable) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return two calls: estimates and dynamic choice for all clients, and a whole scheduled round."""
    config = TrainConfig(clients=clients, noise=0.1)
    settings = schedule_settings(config, table, Dynamic(), np.full(clients, 500))
    state, _ = schedule_round(ScheduleState.start(settings), settings, 1)
    everyone = np.arange(clients)
    images = np.full(clients, 500.0)

    def choose() -> object:
        times = estimate(state.history, everyone, table, images, settings.server_seconds_M)
        return Dynamic().assign(TierChoice(times_s_KM=times, tiers_M=table.tiers_M), np.random.default_rng(0))

    return choose, lambda: schedule_round(state, settings, 2)


@click.command()
@click.option("--repeats", default=7, show_default=True)
def main(repeats: int) -> None:
    """Print milliseconds, median (min-max) over the repeats."""
    model = build_model("resnet-56", input_shape=(3, 32, 32), classes=10, norm="batch", seed=0)
    table = analyse(model, (3, 32, 32), 10, Numerics())
    result = plain_table(f"milliseconds, ResNet-56, seven tiers, n = {repeats}", "what", "clients", "ms")
    for clients in (200, 10_000, 1_000_000):
        choose, round_ = tier_choice(clients, table)
        for what, call in (("estimates + dynamic choice", choose), ("whole scheduled round", round_)):
            result.add_row(what, f"{clients:,}", spread([s * 1e3 for s in seconds(call, repeats)], 2))
    config = TrainConfig(clients=200, rounds=300, noise=0.1, drift_share=0.3)
    taken = seconds(lambda: plan(config, model=model), repeats)
    result.add_row("plan of 300 rounds, with cost table", "200", spread([s * 1e3 for s in taken], 0))
    console = Console(width=120)
    console.print(result)
    console.print(host_line(), soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
