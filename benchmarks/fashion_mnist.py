"""Train on 10,000 images of Fashion-MNIST with dynamic tiers: the curve in docs/reference/benchmarks.md.

    python -m benchmarks.fashion_mnist [--seeds 0,1,2] [--rounds 30] [--figure docs/figures/fashion-mnist.svg]

ResNet-8, ten clients (IID), the paper's five profiles in its own reading of "Mbps"; three of the clients draw a new
profile every ten rounds. Runs are left below --out, and finished ones are not repeated.
"""

from pathlib import Path

import click
import numpy as np
from rich.console import Console

from benchmarks.host import host_line
from dtfl_private import Run, TrainConfig, train
from dtfl_private.report.pictures.training import plot_runs
from dtfl_private.report.tables.plain import plain_table
from dtfl_private.report.words.numbers import duration


def run_once(out: Path, rounds: int, seed: int, link_unit: str) -> Run:
    """Train one seed, or load it when it is finished."""
    config = TrainConfig.model_validate(
        {
            "dataset": "fashion-mnist",
            "max_train_images": 10_000,
            "rounds": rounds,
            "seed": seed,
            "link_unit": link_unit,
            "workers": "auto",
            "drift_share": 0.3,
            "drift_every": 10,
            "target_accuracy": 0.8,
        }
    )
    return train(config, out=out, resume=out.exists())


@click.command()
@click.option("--seeds", default="0,1,2", show_default=True)
@click.option("--rounds", default=30, show_default=True)
@click.option("--link-unit", default="mbyte", show_default=True)
@click.option("--out", default="runs/fashion-mnist", show_default=True, help="folder of the runs")
@click.option("--figure", default="docs/figures/fashion-mnist.svg", show_default=True)
def main(seeds: str, rounds: int, link_unit: str, out: str, figure: str) -> None:
    """Print the accuracies of all seeds and draw their curves."""
    console = Console(width=120)
    table = plain_table(
        f"Fashion-MNIST, 10,000 training images, ResNet-8, {rounds} rounds",
        *("seed", "final accuracy", "best", "rounds to 0.80", "simulated to 0.80", "wall"),
    )
    runs = []
    for seed in seeds.split(","):
        run = run_once(Path(out, f"{link_unit}-seed{seed}"), rounds, int(seed), link_unit)
        runs.append(run)
        summary = run.summary
        reached = summary["time_to_target_s"]
        table.add_row(
            seed,
            f"{summary['final_accuracy']:.4f}",
            f"{summary['best_accuracy']:.4f}",
            str(summary["rounds_to_target"]),
            "not reached" if reached is None else duration(reached),
            duration(summary["wall_time_s"]),
        )
    console.print(table)
    final = [run.summary["final_accuracy"] for run in runs]
    console.print(
        f"final accuracy {np.mean(final):.4f} +- {np.std(final, ddof=min(1, len(final) - 1)):.4f} (n = {len(final)})"
    )
    console.print(host_line(), soft_wrap=True, highlight=False)
    Path(figure).parent.mkdir(parents=True, exist_ok=True)
    plot_runs(
        {f"seed {seed}": run.records for seed, run in zip(seeds.split(","), runs, strict=True)},
        Path(figure),
        title="DTFL, ResNet-8, Fashion-MNIST (10,000 training images), ten clients",
    )


if __name__ == "__main__":
    main()
