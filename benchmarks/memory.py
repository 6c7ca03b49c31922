"""Measure the peak memory of a training process with few and with many clients on the same images.

    python -m benchmarks.memory [--model resnet-56] [--clients 10,100] [--repeats 3]

Each run is a fresh process with one worker; its peak resident set is the operating system's own count.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np
from rich.console import Console

from benchmarks.host import host_line
from benchmarks.throughput import spread
from dtfl_private.report.tables.plain import plain_table

PROGRAM = "import sys; from dtfl_private.cli.main import main; main(sys.argv[1:])"


def peak_mib(model: str, clients: int, images: int, folder: Path) -> float:
    """Return the peak resident set in MiB of one training run of two rounds."""
    options = f"--model {model} --clients {clients} --max-train-images {images} --rounds 2 --workers 1 --batch-size 10"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "train", *options.split(), "--out", str(folder)], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"the run with {clients} clients failed")
    return usage.ru_maxrss / 1024


@click.command()
@click.option("--model", default="resnet-56", show_default=True)
@click.option("--clients", default="10,100", show_default=True, help="numbers of clients to compare")
@click.option("--images", default=1000, show_default=True, help="training images, dealt out to all clients")
@click.option("--repeats", default=3, show_default=True)
def main(model: str, clients: str, images: int, repeats: int) -> None:
    """Print the peak memory for each number of clients: median (min-max) over the repeats."""
    table = plain_table(
        f"peak memory of the training process, {model}, digits, batch 10, n = {repeats}", "clients", "MiB", "ratio"
    )
    first = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        for count in clients.split(","):
            peaks = [peak_mib(model, int(count), images, Path(scratch, f"{count}-{n}")) for n in range(repeats)]
            first = first or float(np.median(peaks))
            table.add_row(count, spread(peaks, 0), f"{np.median(peaks) / first:.3f}")
    console = Console(width=120)
    console.print(table)
    console.print(host_line(), soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
