"""Measure what bf16 costs in accuracy: the same DTFL runs in float32 and in bf16, seed by seed.

    python -m benchmarks.precision [--model resnet-56] [--seeds 0,1,2] [--rounds 30]

Digits, ten clients, dynamic tiers.
"""

import tempfile
from pathlib import Path

import click
import numpy as np
from rich.console import Console

from benchmarks.host import host_line
from dtfl_private import TrainConfig, train
from dtfl_private.report.tables.plain import plain_table

PRECISIONS = ("fp32", "bf16")


def final_accuracy(model: str, precision: str, seed: int, rounds: int, folder: Path) -> float:
    """Return the final test accuracy of one run."""
    values = {
        "model": model,
        "precision": precision,
        "seed": seed,
        "rounds": rounds,
        "link_unit": "mbyte",
        "workers": "auto",
    }
    accuracy: float = train(TrainConfig.model_validate(values), out=folder).summary["final_accuracy"]
    return accuracy


@click.command()
@click.option("--model", default="resnet-56", show_default=True)
@click.option("--seeds", default="0,1,2", show_default=True)
@click.option("--rounds", default=30, show_default=True)
def main(model: str, seeds: str, rounds: int) -> None:
    """Print the final accuracies of both precisions and their difference."""
    table = plain_table(f"final test accuracy, {model}, digits, {rounds} rounds", "seed", *PRECISIONS, "bf16 - fp32")
    differences = []
    with tempfile.TemporaryDirectory() as scratch:
        for seed in seeds.split(","):
            fp32, bf16 = (
                final_accuracy(model, precision, int(seed), rounds, Path(scratch, f"{precision}-{seed}"))
                for precision in PRECISIONS
            )
            differences.append(bf16 - fp32)
            table.add_row(seed, f"{fp32:.4f}", f"{bf16:.4f}", f"{bf16 - fp32:+.4f}")
    console = Console(width=120)
    console.print(table)
    spread = np.std(differences, ddof=1) if len(differences) > 1 else 0.0
    console.print(
        f"mean difference {np.mean(differences):+.4f}, standard deviation {spread:.4f}, n = {len(differences)}"
    )
    console.print(host_line(), soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
