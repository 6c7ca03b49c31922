"""What defenses cost in accuracy: the trend of the DTFL paper's privacy table, on Fashion-MNIST.

    python -m benchmarks.defense_accuracy [--seeds 0,1,2] [--rounds 12] [--defenses ""] [--out runs/defense-accuracy]

The distance-correlation weight alpha at 0, 0.25, 0.5 and 0.75, and patch shuffling: ResNet-8, 10,000 training images,
20 clients (IID), batches of 32, the paper's profiles and dynamic tiers. The paper (ResNet-56, CIFAR-10, 20 clients)
gives 87.1, 86.8, 83.5, 75.6 % for the four alphas and 85.4 % with patch shuffling. Finished runs are not repeated, so
that several processes can share the work, each with its own seeds.
"""

import math
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from scipy import stats

from benchmarks.host import host_line
from dtfl_private import TrainConfig, train
from dtfl_private.report.tables.plain import plain_table

SETTINGS = {
    "none (alpha 0)": [],
    "distance-correlation, alpha 0.25": ["distance-correlation:alpha=0.25"],
    "distance-correlation, alpha 0.5": ["distance-correlation:alpha=0.5"],
    "distance-correlation, alpha 0.75": ["distance-correlation:alpha=0.75"],
    "patch-shuffle, patches of 7x7": ["patch-shuffle:patch=7"],
}
CONFIDENCE = 0.95


def final_accuracy(out: Path, defense: list[str], rounds: int, seed: int) -> float:
    """Train one run, or load it when it is finished, and return its last test accuracy."""
    config = TrainConfig.model_validate(
        {
            "dataset": "fashion-mnist",
            "max_train_images": 10_000,
            "clients": 20,
            "rounds": rounds,
            "seed": seed,
            "link_unit": "mbyte",
            "precision": "bf16",
            "defense": defense,
        }
    )
    accuracy: float = train(config, out=out, resume=out.exists()).summary["final_accuracy"]
    return accuracy


def half_width(values: list[float]) -> float:
    """Return half the 95 % confidence interval of a mean (Student's t)."""
    if len(values) < 2:
        return math.nan
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)
    return float(quantile * np.std(values, ddof=1) / math.sqrt(len(values)))


@click.command()
@click.option("--seeds", default="0,1,2", show_default=True)
@click.option("--rounds", default=12, show_default=True)
@click.option("--out", default="runs/defense-accuracy", show_default=True, help="folder of the runs")
def main(seeds: str, rounds: int, out: str) -> None:
    """Print the final accuracy of each setting: mean and 95 % interval over the seeds."""
    console = Console(width=120)
    found: dict[str, list[float]] = {name: [] for name in SETTINGS}
    for seed in map(int, seeds.split(",")):
        for number, (name, defense) in enumerate(SETTINGS.items()):
            found[name].append(final_accuracy(Path(out, f"{number}-seed{seed}"), defense, rounds, seed))
            console.print(f"seed {seed}, {name}: {found[name][-1]:.4f}", highlight=False)
    table = plain_table(f"Fashion-MNIST, ResNet-8, 20 clients, {rounds} rounds", "defense", "accuracy", "95 %", "n")
    for name, values in found.items():
        table.add_row(name, f"{np.mean(values):.4f}", f"+- {half_width(values):.4f}", str(len(values)))
    console.print(table)
    console.print(host_line(), soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
