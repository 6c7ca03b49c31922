"""Whether attacks are at their ceiling where the cut is deep: effort, size of the decoder, auxiliary images.

The run `r20-batch` of `benchmarks.leakage`, trained if it is not in the folder; `decoder` and `hybrid` at some tiers,
one thing changed at a time. Guesses are cached: an interrupted command continues where it was.

    python -m benchmarks.leakage_ceiling [--out leakage] [--tier 4 --tier 5] [--images N]
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console

from benchmarks.host import host_line
from benchmarks.leakage import COMMON, RUNS, row
from dtfl_private import AttackConfig, Result, TrainConfig, attack, train
from dtfl_private.experiments.run import Run
from dtfl_private.report.tables.plain import plain_table

SOURCES = ("decoder", "hybrid")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What the attacks are given: effort relative to the normal, size of the decoder, auxiliary images at most."""

    effort: float = 0.15
    size: str = "small"
    images: int = 8000

    @property
    def name(self) -> str:
        """Its name as a folder."""
        return f"effort-{self.effort:g}-{self.size}-{self.images}-images"


SETTINGS = (
    Setting(),
    Setting(effort=0.3),
    Setting(size="medium"),
    Setting(size="large"),
    Setting(images=1000),
)


def mounted(run: Run, setting: Setting, tiers: Sequence[int], victims: int, folder: Path) -> Sequence[Result]:
    """Return what the attacks with a setting reach."""
    config = AttackConfig(
        attacks=tuple(f"{source}:size={setting.size},effort={setting.effort}" for source in SOURCES),
        tiers=tuple(tiers),
        seeds=1,
        victims=victims,
        aux_images=setting.images,
    )
    return attack(run, config, out=folder / "ceiling" / setting.name).results


@click.command()
@click.option("--out", default="leakage", show_default=True, help="folder of the runs")
@click.option("--tier", "tiers", default=(4, 5), show_default=True, multiple=True, type=int, help="repeat for several")
@click.option("--victims", default=64, show_default=True, help="images to attack")
@click.option("--images", type=int, help="of the training, for a first try  [default: those of benchmarks.leakage]")
@click.option("--rounds", type=int, help="likewise")
def main(out: str, tiers: tuple[int, ...], victims: int, images: int | None, rounds: int | None) -> None:
    """Print PSNR of each attack with each setting."""
    settings, _ = RUNS["r20-batch"]
    smaller = {"max_train_images": images, "rounds": rounds}
    chosen = {**COMMON, **settings, **{name: value for name, value in smaller.items() if value is not None}}
    run = train(TrainConfig.model_validate(chosen), out=Path(out) / "r20-batch", resume=True)
    console = Console(width=140)
    columns = [f"tier {tier} {source}" for tier in tiers for source in SOURCES]
    table = plain_table("PSNR, dB", "effort", "size", "auxiliary images, at most", *columns)
    for setting in SETTINGS:
        results = mounted(run, setting, tiers, victims, Path(out))
        cells = [row(results, tier, source, "psnr", 1) for tier in tiers for source in SOURCES]
        table.add_row(f"{setting.effort:g}", setting.size, str(setting.images), *cells)
    console.print(table)
    console.print(host_line(), highlight=False)


if __name__ == "__main__":
    main()
