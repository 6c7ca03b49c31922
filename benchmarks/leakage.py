"""Measure what leaks at each tier: the tables and pictures of docs/reference/leakage.md.

ResNet-20 with batch norm and with group norm, and He, Zhang and Lee's network, each trained on Fashion-MNIST; then
`decoder`, `optimization` and `hybrid` at every tier. Runs and guesses are cached in the folder: an interrupted command
continues where it was.

    python -m benchmarks.leakage [--out leakage] [--only r20-batch,r20-group,he] [--seeds 1] [--figures DIR]
"""

from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from benchmarks.host import host_line
from dtfl_private import AttackConfig, Result, TrainConfig, attack, train
from dtfl_private.attacking.scoring.scoring import Verdict
from dtfl_private.report.pictures.gallery import gallery
from dtfl_private.report.pictures.leakage import leakage_picture
from dtfl_private.report.tables.plain import plain_table

COMMON = {"dataset": "fashion-mnist", "link_unit": "mbyte"}
RUNS: dict[str, tuple[dict[str, object], int]] = {
    # settings of the run, steps of each search
    "r20-batch": ({"model": "resnet-20", "norm": "batch", "max_train_images": 10000, "rounds": 10}, 300),
    "r20-group": ({"model": "resnet-20", "norm": "group", "max_train_images": 10000, "rounds": 10}, 300),
    "he": ({"model": "he-cnn", "max_train_images": 4000, "rounds": 4}, 200),
}
SHOWN_TIERS = (1, 4, 7)


def measured(name: str, folder: Path, seeds: int, threads: int | None) -> tuple[Sequence[Result], Sequence[Verdict]]:
    """Train a run, if it is not there, and attack it at every tier."""
    settings, steps = RUNS[name]
    run = train(TrainConfig.model_validate({**COMMON, **settings}), out=folder / name, resume=True)
    attacks = ("decoder", f"optimization:steps={steps}", f"hybrid:steps={steps}")
    report = attack(run, AttackConfig(attacks=attacks, tiers="all", seeds=seeds, threads=threads))
    return report.results, report.verdicts


def row(results: Sequence[Result], tier: int, source: str, metric: str, digits: int) -> str:
    """Return a figure with its interval as text."""
    (found,) = [r for r in results if (r.tier, r.source, r.metric) == (tier, source, metric)]
    return f"{found.value:.{digits}f} ({found.ci_low:.{digits}f}-{found.ci_high:.{digits}f})"


def draw(name: str, results: Sequence[Result], verdicts: Sequence[Verdict], folder: Path) -> None:
    """Write PSNR over tiers, and what was reconstructed at some of them, as SVG."""
    picture = leakage_picture(results, "psnr", title=f"{name}, Fashion-MNIST", form="svg")
    (folder / f"leakage-{name}.svg").write_bytes(picture)
    for tier in SHOWN_TIERS:
        shown = {v.job.chosen.name: v.pictured for v in verdicts if v.job.tier == tier and v.pictured is not None}
        if not shown:
            continue
        first = shown["hybrid"]
        guesses = {attack_: shown[attack_].guesses[0] for attack_ in ("hybrid", "decoder", "optimization")}
        guesses[first.baseline_name] = first.baseline
        title = f"{name}, tier {tier}, cut {'x'.join(map(str, results_cut(results, tier)))}"
        (folder / f"gallery-{name}-tier-{tier}.svg").write_bytes(
            gallery(first.truth, guesses, title=title, count=6, form="svg")
        )


def results_cut(results: Sequence[Result], tier: int) -> tuple[int, ...]:
    """Return the shape of the cut at a tier."""
    return next(result.cut for result in results if result.tier == tier)


@click.command()
@click.option("--out", default="leakage", show_default=True, help="folder of the runs")
@click.option("--only", default=",".join(RUNS), show_default=True, help="which runs")
@click.option("--seeds", default=1, show_default=True, help="repetitions of each attack")
@click.option("--threads", default=None, type=int, help="CPU threads  [default: all cores]")
@click.option("--figures", metavar="DIR", help="also draw pictures there")
def main(out: str, only: str, seeds: int, threads: int | None, figures: str | None) -> None:
    """Print PSNR and SSIM of each attack at each tier."""
    console = Console(width=200)
    for name in only.split(","):
        results, verdicts = measured(name, Path(out), seeds, threads)
        count = max(result.n for result in results)
        columns = [
            f"{source} {metric}" for source in ("decoder", "optimization", "hybrid") for metric in ("PSNR", "SSIM")
        ]
        table = plain_table(f"{name}, n = {count}, seeds = {seeds}", "tier", "cut", "class mean PSNR", *columns)
        for tier in sorted({result.tier for result in results}):
            cells = [
                row(results, tier, source, metric, digits)
                for source in ("decoder", "optimization", "hybrid")
                for metric, digits in (("psnr", 1), ("ssim", 2))
            ]
            cut = "x".join(map(str, results_cut(results, tier)))
            table.add_row(str(tier), cut, row(results, tier, "class-mean", "psnr", 1), *cells)
        console.print(table)
        if figures is not None:
            Path(figures).mkdir(parents=True, exist_ok=True)
            draw(name, results, verdicts, Path(figures))
    console.print(host_line(), highlight=False)


if __name__ == "__main__":
    main()
