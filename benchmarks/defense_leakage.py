"""What defenses at the shallowest tier cost in accuracy, and what a decoder still sees: a small, quick comparison.

    python -m benchmarks.defense_leakage [--defense NAME[:key=value,...]]... [--seeds 0] [--tier 1] [--out DIR]

ResNet-8 with group norm on the first 2,000 training images of Fashion-MNIST, 4 clients (IID), 5 rounds, the client
sending from one tier; then the small decoder with a tenth of its usual steps, 1,200 auxiliary images, 64 victims.
Accuracy is on the first 2,500 test images. A defense is to be compared with noise at the same accuracy: give several
``--defense gaussian-noise:sd=X``. Finished runs and guesses are kept, and not repeated.
"""

from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

from benchmarks.host import host_line
from dtfl_private import AttackConfig, ImageDataset, TrainConfig, attack, train
from dtfl_private.data.fashion_mnist import load_fashion_mnist
from dtfl_private.report.tables.plain import plain_table

DEFENSES = (
    *("none", "gaussian-noise:sd=0.5", "gaussian-noise:sd=1", "learned-noise", "micro-aggregation"),
    *("pixel-dp:noise_multiplier=0.02", "distance-correlation", "distance-correlation:estimator=corrected,memory=128"),
)
TRAINED, JUDGED, AUXILIARY = 2000, 2500, 1200


def few_images() -> ImageDataset:
    """Return the first images of Fashion-MNIST."""
    full = load_fashion_mnist()
    return replace(
        full,
        train_images=full.train_images[:TRAINED],
        train_labels=full.train_labels[:TRAINED],
        test_images=full.test_images[:JUDGED],
        test_labels=full.test_labels[:JUDGED],
    )


def row(dataset: ImageDataset, defense: str, tier: int, seed: int, folder: Path) -> list[str]:
    """Train a run and attack it, and return accuracy, SSIM and PSNR as text, with intervals over the victims."""
    values = {"model": "resnet-8", "norm": "group", "clients": 4, "rounds": 5, "batch_size": 32, "lr": 0.01}
    values |= {"scheduler": f"static:{tier}", "seed": seed, "device": "cpu", "workers": 1}
    config = TrainConfig.model_validate({**values, "defense": [] if defense == "none" else [defense]})
    name = "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in defense)
    out = folder / f"{tier}-{seed}-{name}"
    run = train(config, out=out, resume=out.exists(), dataset=dataset)
    setup = AttackConfig(
        attacks=("decoder:size=small",), tiers=(tier,), seeds=1, effort="quick", aux_images=AUXILIARY, threads=1
    )
    results = attack(run, setup, dataset=dataset).results
    found = {result.metric: result for result in results if result.source.startswith("decoder")}
    figures = (found[metric] for metric in ("ssim", "psnr"))
    return [
        f"{run.summary['final_accuracy']:.3f}",
        *(f"{one.value:.2f} ({one.ci_low:.2f}-{one.ci_high:.2f})" for one in figures),
        f"{found['ssim'].baseline:.2f}",
    ]


@click.command()
@click.option("--defense", "defenses", multiple=True, help="Only these; default: a choice.")
@click.option("--seeds", default="0", show_default=True)
@click.option("--tier", default=1, show_default=True)
@click.option("--out", default="runs/defense-leakage", show_default=True)
def main(defenses: tuple[str, ...], seeds: str, tier: int, out: str) -> None:
    """Print accuracy, and the decoder's SSIM and PSNR, of each defense and seed."""
    console, dataset = Console(width=140), few_images()
    title = f"tier {tier}, decoder; 95 % intervals over 64 victims"
    table = plain_table(title, "defense", "seed", "accuracy", "SSIM", "PSNR (dB)", "trivial guess SSIM")
    for seed in map(int, seeds.split(",")):
        for defense in defenses or DEFENSES:
            table.add_row(defense, str(seed), *row(dataset, defense, tier, seed, Path(out)))
    console.print(table)
    console.print(host_line(), soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
