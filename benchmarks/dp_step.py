"""Measure what DP-SGD costs: a step with hooks, clipping and noise against a plain step, back to back.

    python -m benchmarks.dp_step [--model resnet-8] [--size 32] [--pairs 9]

The whole network with group norm on random images, one thread. Both kinds of step alternate, so that a change of the
machine's pace meets both; the figure is the median over the pairs of their ratio. A Poisson sample's size varies;
here both take the same number of images.
"""

import statistics
import time
from collections.abc import Callable

import click
import torch
from rich.console import Console
from torch.nn import functional as F

from benchmarks.host import host_line
from dtfl_private.defenses.dp_weights import DpWeights
from dtfl_private.numerics import Numerics
from dtfl_private.plugins.registry import create
from dtfl_private.protection.client_context import ClientRound, LocalTraining
from dtfl_private.report.tables.plain import plain_table
from dtfl_private.runtime.device import one_thread

CHANNELS = 3
CLASSES = 10
# Steps in one timing: the hooks are put on once per round, not once per step.
STEPS = 5


def seconds(work: Callable[[], object]) -> float:
    """Return how long a call took."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def a_client(model: str, size: int, batch: int) -> LocalTraining:
    """Return the training of a client that has exactly one batch, so that each sample is the whole of it."""
    network = create("model", model, input_shape=(CHANNELS, size, size), classes=CLASSES, norm="group").train()
    images, labels = torch.randn(batch, CHANNELS, size, size), torch.randint(CLASSES, (batch,))
    return LocalTraining(
        modules=network,
        mean_loss=lambda inputs, labels: F.cross_entropy(network(inputs), labels),
        fetch=lambda records: (images[records], labels[records]),
        optimizer=torch.optim.Adam(network.parameters(), lr=1e-3, fused=True),
        records=batch,
        batch_size=batch,
        steps=STEPS,
        numerics=Numerics(),
    )


def plain_steps(training: LocalTraining) -> None:
    """Take as many steps without protection."""
    for _ in range(training.steps):
        loss = training.mean_loss(*training.fetch(torch.arange(training.records)))
        training.optimizer.zero_grad()
        torch.autograd.backward(loss)
        training.optimizer.step()


def ratios(model: str, size: int, batch: int, pairs: int) -> list[tuple[float, float]]:
    """Return (seconds per plain step, seconds per DP-SGD step) of each pair."""
    training = a_client(model, size, batch)
    at = ClientRound(seed=0, client=0, round=1, tier=1, records=batch, classes=CLASSES)
    defense = DpWeights()
    plain_steps(training)
    defense.training_pass(training, at)
    return [
        (
            seconds(lambda: plain_steps(training)) / STEPS,
            seconds(lambda: defense.training_pass(training, at)) / STEPS,
        )
        for _ in range(pairs)
    ]


@click.command()
@click.option("--model", default="resnet-8", show_default=True)
@click.option("--size", default=32, show_default=True, help="side of the images")
@click.option("--batches", default="32,100", show_default=True)
@click.option("--pairs", default=9, show_default=True)
def main(model: str, size: int, batches: str, pairs: int) -> None:
    """Print the time of both steps and their ratio per batch size."""
    table = plain_table(
        f"DP-SGD step / plain step, {model}, group norm, {CHANNELS}x{size}x{size}, {pairs} pairs of {STEPS} steps",
        *("batch", "plain, ms", "DP-SGD, ms", "ratio (median)", "ratio (range)"),
    )
    with one_thread():
        for batch in map(int, batches.split(",")):
            timed = ratios(model, size, batch, pairs)
            found = sorted(private / plain for plain, private in timed)
            table.add_row(
                str(batch),
                f"{1e3 * statistics.median(plain for plain, _ in timed):.1f}",
                f"{1e3 * statistics.median(private for _, private in timed):.1f}",
                f"{statistics.median(found):.2f}",
                f"{found[0]:.2f}..{found[-1]:.2f}",
            )
    console = Console(width=120)
    console.print(table)
    console.print(host_line(), soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
