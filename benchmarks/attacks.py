"""Time attacks on ResNet-20 with images of 3x32x32: the decoder at each tier, and optimization at tier 1.

Fashion-MNIST, padded to 32x32 and repeated to three channels. A run of one round is trained first; what an attack takes
does not depend on how well the network is trained. The decoder takes its 4,000 steps on variations of 5,000 images.

    python -m benchmarks.attacks [--tiers 1,4,7] [--threads 2]
"""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console
from torch.nn import functional as F

from benchmarks.host import host_line
from dtfl_private import Attack, AttackConfig, TrainConfig, attack, train
from dtfl_private.data.dataset import ImageDataset, load_dataset
from dtfl_private.plugins.registry import create
from dtfl_private.report.tables.plain import plain_table

# A sixth of the auxiliary images tunes: 6,000 leave 5,000 to train on.
AUXILIARY = 6000


def coloured(dataset: ImageDataset) -> ImageDataset:
    """Return grey images of 28x28 as images of 3x32x32."""
    small, tests = dataset.train_images[:256], dataset.test_images
    return replace(
        dataset,
        train_images=F.pad(small, (2, 2, 2, 2)).repeat(1, 3, 1, 1),
        train_labels=dataset.train_labels[:256],
        test_images=F.pad(tests, (2, 2, 2, 2)).repeat(1, 3, 1, 1),
    )


@click.command()
@click.option("--tiers", default="1,4,7", show_default=True, help="tiers of the decoder")
@click.option("--threads", default=2, show_default=True, help="CPU threads")
def main(tiers: str, threads: int) -> None:
    """Show what attacks take, in wall seconds."""
    loaded = load_dataset("fashion-mnist", data_dir=None, download=False)
    assert isinstance(loaded, ImageDataset)
    dataset = coloured(loaded)
    table = plain_table(f"attacks on ResNet-20, 3x32x32, {threads} threads", "attack", "tier", "victims", "seconds")
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(model="resnet-20", clients=4, rounds=1)
        run = Path(folder) / "run"
        train(config, out=run, dataset=dataset)
        jobs = [("decoder", int(tier), 64) for tier in tiers.split(",")]
        for text, tier, victims in [*jobs, ("optimization", 1, 100)]:
            settings = AttackConfig(tiers=(tier,), victims=victims, seeds=1, aux_images=AUXILIARY, threads=threads)
            attacks: list[Attack] = [create("attack", text)]
            # The first call trains the judge's classifier and draws pictures too; guesses are kept, so that a second
            # one takes all but the attack itself.
            seconds = []
            for _ in range(2):
                start = time.perf_counter()
                report = attack(run, settings, attacks=attacks, dataset=dataset)
                seconds.append(time.perf_counter() - start)
            judged = max(result.n for result in report.results)
            table.add_row(text, str(tier), str(judged), f"{seconds[0] - seconds[1]:.0f}")
    console = Console()
    console.print(table)
    console.print(host_line(), highlight=False)


if __name__ == "__main__":
    main()
