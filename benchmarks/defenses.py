"""Measure what each defense costs a client: the time of its steps, back to back with steps without any defense.

    python -m benchmarks.defenses [--model resnet-8] [--batch-size 32] [--pairs 7]

A client's round on made-up 3x32x32 images, group norm, one thread, without the server half. Each pair times the plain
client and the defended one right after each other, so that a busy host slows both; the ratio is the median over the
pairs, with its quartiles.
"""

import time

import click
import numpy as np
import torch
from rich.console import Console

from benchmarks.host import host_line
from dtfl_private import ImageDataset, TrainConfig
from dtfl_private.experiments.setup.prepare import Prepared, prepare
from dtfl_private.experiments.setup.run_objects import RunObjects
from dtfl_private.models.cutting.staged import snapshot, split
from dtfl_private.plugins.installed import installed
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protocol.messages import ModelDownload
from dtfl_private.report.tables.plain import plain_table
from dtfl_private.runtime.device import one_thread
from dtfl_private.training.client import ClientData, ClientHalf

# They act before a client's steps, if at all.
WITHOUT_STEPS = ("identity", "tier-floor", "weight-jump", "gradient-scrutinizer")


def made_up(count: int) -> ImageDataset:
    """Return this many random images for one client."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, 3, 32, 32), generator=generator).to(torch.uint8)
    labels = torch.arange(count) % 10
    return ImageDataset(
        name="noise",
        source="made up",
        classes=tuple("0123456789"),
        train_images=images,
        train_labels=labels,
        test_images=images[:10],
        test_labels=labels[:10],
    )


def prepared(model: str, batch_size: int, steps: int, *defenses: str) -> Prepared:
    """Prepare a run of one client."""
    values = {"model": model, "clients": 1, "batch_size": batch_size, "norm": "group", "device": "cpu", "workers": 1}
    config = TrainConfig.model_validate({**values, "defense": list(defenses)})
    return prepare(config, objects=RunObjects(dataset=made_up(steps * batch_size)))


def seconds_per_step(run: Prepared, tier: int) -> float:
    """Return the time of one of a client's steps in a round, the message included."""
    setup = run.worker
    modules, _ = split(setup.model, tier)
    head, records = setup.heads[tier], len(setup.parts[0])
    download = ModelDownload(client=0, round=1, tier=tier, weights=snapshot(modules), head=snapshot(head))
    at = ClientRound(seed=0, client=0, round=1, tier=tier, records=records, classes=setup.classes, download=download)
    client = ClientHalf(
        download=download,
        modules=modules,
        head=head,
        optimizer=setup.optimizer,
        lr=1e-3,
        batch_size=setup.batch_size,
        local_epochs=1,
        numerics=setup.numerics,
        defense=setup.defense,
        at=at,
    )
    inputs = setup.numerics.place_images(setup.normaliser(setup.train_images))
    batches = torch.split(torch.arange(records), setup.batch_size)
    data = ClientData(batches=batches, fetch=lambda which: (inputs[which], setup.train_labels[which]))
    start = time.perf_counter()
    for _ in client.train(data, len(batches)):
        pass
    client.update()
    return (time.perf_counter() - start) / len(batches)


@click.command()
@click.option("--model", default="resnet-8", show_default=True)
@click.option("--batch-size", default=32, show_default=True)
@click.option("--pairs", default=7, show_default=True)
@click.option("--steps", default=8, show_default=True, help="Steps in a round.")
@click.option("--tiers", default="1,2,3", show_default=True)
@click.option("--defense", "chosen", multiple=True, help="Only these; default: all that act in a step.")
def main(model: str, batch_size: int, pairs: int, steps: int, tiers: str, chosen: tuple[str, ...]) -> None:
    """Print the ratio of the times of defended and plain steps, for each tier."""
    names = chosen or [name for name in installed("defense") if name not in WITHOUT_STEPS]
    depths = [int(tier) for tier in tiers.split(",")]
    title = f"time of a client's step over that of a plain one, {model}, batch {batch_size}, n = {pairs} pairs"
    table = plain_table(title, "defense", *(f"tier {tier}" for tier in depths))
    with one_thread():
        plain = prepared(model, batch_size, steps)
        for name in names:
            defended = prepared(model, batch_size, steps, name)
            cells = []
            for tier in depths:
                seconds_per_step(defended, tier)  # the first round allocates
                ratios = [1 / seconds_per_step(plain, tier) * seconds_per_step(defended, tier) for _ in range(pairs)]
                low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
                cells.append(f"{middle:.2f} ({low:.2f}-{high:.2f})")
            table.add_row(name, *cells)
    console = Console(width=120)
    console.print(table)
    console.print(host_line(), soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
