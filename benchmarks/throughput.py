"""Measure the round of DTFL or another method against a plain PyTorch loop: images per CPU-second on one thread.

Both train the same network on the same random images with equal batch sizes, optimisers and numerics. Our
side runs whole rounds, one client in each tier: schedule, both halves of every client, average, and evaluation
on ten images. The plain side is one epoch of the loop that anyone would write. The two alternate; each pair gives one
ratio.

    python -m benchmarks.throughput [--method dtfl] [--models resnet-8,resnet-56] [--images 300] [--batch-size 100]
                                    [--pairs 5]
"""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import click
import numpy as np
import torch
from rich.console import Console
from torch.nn import functional as F

from benchmarks.host import host_line
from dtfl_private import ImageDataset, TierChoice, TrainConfig
from dtfl_private.experiments.setup.prepare import Prepared, prepare
from dtfl_private.experiments.setup.run_objects import RunObjects
from dtfl_private.protocol.contracts import IntArray
from dtfl_private.report.tables.plain import plain_table
from dtfl_private.runtime.allocator import tune_allocator
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.device import one_thread
from dtfl_private.runtime.in_process import InProcess
from dtfl_private.training.optimizers import make_optimizer
from dtfl_private.training.round import run_round

# (label, precision, memory format, norm)
SETTINGS = (
    ("fp32 contiguous", "fp32", "contiguous", "batch"),
    ("fp32 + channels_last", "fp32", "channels-last", "batch"),
    ("bf16 + channels_last", "bf16", "channels-last", "batch"),
    ("group norm, fp32 + channels_last", "fp32", "channels-last", "group"),
    ("group norm, bf16", "bf16", "contiguous", "group"),
)


TIERS = {"resnet-8": 4, "resnet-20": 7, "resnet-56": 7, "resnet-110": 7}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Images per CPU-second of both sides, pair by pair."""

    label: str
    round: list[float]
    plain: list[float]

    def ratios(self) -> list[float]:
        """Return the round's over the plain loop's of each pair."""
        return [ours / theirs for ours, theirs in zip(self.round, self.plain, strict=True)]


def random_images(count: int) -> ImageDataset:
    """Return 3x32x32 noise with ten classes: the time of a step does not depend on what is on the images."""
    generator = torch.Generator().manual_seed(0)
    return ImageDataset(
        name="noise",
        source="random numbers",
        classes=tuple(map(str, range(10))),
        train_images=torch.randint(256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8),
        train_labels=torch.randint(10, (count,), generator=generator),
        test_images=torch.zeros(10, 3, 32, 32, dtype=torch.uint8),
        test_labels=torch.arange(10),
    )


class EveryTier:
    """A scheduler that gives each tier to one client."""

    uses_times: ClassVar[bool] = False

    def assign(self, choice: TierChoice, rng: np.random.Generator) -> IntArray:
        """Return the tiers, one after the other."""
        return choice.tiers_M[np.arange(len(choice.times_s_KM)) % len(choice.tiers_M)]


def round_side(prepared: Prepared) -> Callable[[int], int]:
    """Return a function that runs one round, schedule and averages included, and returns the number of images."""
    executor = InProcess(prepared.worker)
    images = len(prepared.worker.train_labels)

    def run(_number: int) -> int:
        run_round(prepared.method, prepared.initial, prepared.settings, executor, Callback())
        return images

    return run


def plain_side(prepared: Prepared) -> Callable[[int], int]:
    """Return a function that trains the whole network for one epoch by a plain loop."""
    setup = prepared.worker
    numerics = setup.numerics
    model = numerics.place(copy.deepcopy(setup.model))
    images, labels = setup.train_images, setup.train_labels

    def run(number: int) -> int:
        optimizer = make_optimizer(model.parameters(), setup.optimizer, 1e-3)
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(number))
        model.train()
        for index in torch.split(order, setup.batch_size):
            inputs = numerics.place_images(setup.normaliser(images[index]))
            with numerics.autocast():
                loss = F.cross_entropy(model(inputs), labels[index])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        return len(labels)

    return run


def images_per_cpu_second(run: Callable[[int], int], number: int) -> float:
    """Return the throughput of one call, by the CPU time of this process."""
    start = time.process_time()
    images = run(number)
    return images / (time.process_time() - start)


def measure(model: str, label: str, config: TrainConfig, images: int, pairs: int) -> Measured:
    """Return the paired measurements of one network under one setting."""
    prepared = prepare(
        config, objects=RunObjects(dataset=random_images(images * config.clients), scheduler=EveryTier())
    )
    ours, theirs = round_side(prepared), plain_side(prepared)
    rounds, plain = [], []
    for number in range(-1, pairs):
        pair = images_per_cpu_second(ours, number + 1), images_per_cpu_second(theirs, number + 1)
        if number >= 0:  # the first pair warms up
            rounds.append(pair[0])
            plain.append(pair[1])
    return Measured(label=f"{model}, {label}", round=rounds, plain=plain)


def spread(values: list[float], digits: int) -> str:
    """Return "median (min-max)"."""
    low, middle, high = np.min(values), np.median(values), np.max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


@click.command()
@click.option("--method", default="dtfl", show_default=True, help="with tiers, such as dtfl-shared:full=false")
@click.option("--models", default="resnet-8,resnet-56", show_default=True)
@click.option("--images", default=300, show_default=True, help="images of each client")
@click.option("--batch-size", default=100, show_default=True)
@click.option("--only", default="", help="measure only the numerics whose name contains one of these, comma-separated")
@click.option("--pairs", default=5, show_default=True, help="measured pairs")
def main(method: str, models: str, images: int, batch_size: int, only: str, pairs: int) -> None:
    """Print a table of throughputs: median (min-max) over the pairs."""
    tune_allocator()  # as every worker process does; it serves both sides
    console = Console(width=140)
    title = f"images per CPU-second, one thread, 3x32x32, batch {batch_size}, n = {pairs} pairs"
    table = plain_table(
        title, "network, numerics", f"{method} round", "plain loop", "round / plain", "plain / first plain"
    )
    with one_thread():
        for model in models.split(","):
            first: list[float] = []
            for label, precision, memory_format, norm in SETTINGS:
                if not any(part in label for part in only.split(",")):
                    continue
                config = TrainConfig.model_validate(
                    {
                        "method": method,
                        "model": model,
                        "precision": precision,
                        "memory_format": memory_format,
                        "norm": norm,
                        "clients": TIERS[model],
                        "batch_size": batch_size,
                        "device": "cpu",
                        "workers": 1,
                    }
                )
                measured = measure(model, label, config, images, pairs)
                first = first or measured.plain
                gain = np.median(measured.plain) / np.median(first)
                table.add_row(
                    measured.label,
                    spread(measured.round, 0),
                    spread(measured.plain, 0),
                    spread(measured.ratios(), 3),
                    f"{gain:.2f}",
                )
    console.print(table)
    console.print(host_line(), soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
