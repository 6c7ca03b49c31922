"""Measure how often a run holds its images in memory: with one to four workers, few and many images and clients.

    python -m benchmarks.images [--workers 1,2,4] [--images 5000,200000]

The data set is made up, 3x32x32 as CIFAR-10's, with 2,000 test images. Every run is a fresh process of two rounds
with eight participants of 25 images each, so that runs differ in the images that they hold and in the number of
clients, not in what they compute. Memory is the proportional set size (PSS) of the process and its workers, which
counts a page that several share once, at the end of the last round. Linux only.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import torch
from rich.console import Console

from benchmarks.host import host_line
from dtfl_private import ImageDataset, TrainConfig, train
from dtfl_private.report.tables.plain import plain_table
from dtfl_private.runtime.callback import Callback
from dtfl_private.training.round_record import Record

MIB = 2**20
IMAGE_BYTES = 3 * 32 * 32
IMAGES_PER_CLIENT = 25
PARTICIPANTS = 8
TEST_IMAGES = 2000


def pss_mib() -> float:
    """Return the proportional set size of this process and its children."""
    total = 0
    children = Path("/proc/self/task").glob("*/children")
    for process in ["self", *(child for file in children for child in file.read_text().split())]:
        try:
            rollup = Path("/proc", process, "smaps_rollup").read_text()
        except OSError:  # a child that has just ended
            continue
        total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total / 1024


class AtTheEndOfARound(Callback):
    """Remembers the memory when all workers have trained and evaluated, and still hold what they hold."""

    mib = 0.0

    def round_finished(self, record: Record) -> None:
        """Take the sample."""
        self.mib = pss_mib()


def made_up(count: int) -> ImageDataset:
    """Return this many random training images."""
    generator = torch.Generator().manual_seed(0)
    train_images, test_images = (
        torch.randint(256, (size, 3, 32, 32), generator=generator, dtype=torch.uint8) for size in (count, TEST_IMAGES)
    )
    return ImageDataset(
        name="random",
        source="made up",
        classes=tuple("0123456789"),
        train_images=train_images,
        train_labels=torch.arange(count) % 10,
        test_images=test_images,
        test_labels=torch.arange(TEST_IMAGES) % 10,
    )


def measure(images: int, workers: int) -> float:
    """Train two rounds in this process and return the memory at the end of the last one in MiB."""
    clients = images // IMAGES_PER_CLIENT
    config = TrainConfig.model_validate(
        {
            "clients": clients,
            "fraction": PARTICIPANTS / clients,
            "rounds": 2,
            "batch_size": IMAGES_PER_CLIENT,
            "scheduler": "static:1",
            "workers": workers,
        }
    )
    sampled = AtTheEndOfARound()
    with tempfile.TemporaryDirectory() as scratch:
        train(config, out=Path(scratch, "run"), dataset=made_up(images), callbacks=[sampled])
    return sampled.mib


def measured(images: int, workers: int) -> float:
    """Return what `measure` does, from a fresh process."""
    command = [sys.executable, "-m", "benchmarks.images", "--one", f"{images},{workers}"]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


@click.command()
@click.option("--workers", default="1,2,4", show_default=True, help="numbers of workers to compare")
@click.option("--images", default="5000,200000", show_default=True, help="two numbers of training images")
@click.option("--one", hidden=True, help="IMAGES,WORKERS: measure in this process and print MiB")
def main(workers: str, images: str, one: str | None) -> None:
    """Print the memory of each run, and how many copies of the further images it holds."""
    if one is not None:
        print(json.dumps(measure(*map(int, one.split(",")))))
        return
    few, many = map(int, images.split(","))
    further_mib = (many - few) * IMAGE_BYTES / MIB
    table = plain_table(
        f"memory (PSS) of a run of {few:,} and of {many:,} images, {further_mib:.0f} MiB more; n = 1 each",
        *("workers", f"{few:,} images, MiB", f"{many:,} images, MiB", "copies of the further images"),
    )
    for count in map(int, workers.split(",")):
        small, large = measured(few, count), measured(many, count)
        table.add_row(str(count), f"{small:.0f}", f"{large:.0f}", f"{(large - small) / further_mib:.2f}")
    console = Console(width=120)
    console.print(table)
    console.print(host_line(), soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
