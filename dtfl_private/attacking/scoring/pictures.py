"""Pictures of what attacks reached: what was reconstructed, tier by tier, and leakage over tiers."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from dtfl_private.attacking.scoring.rebuilt import Pictured
from dtfl_private.attacking.scoring.scoring import Verdict
from dtfl_private.files.writing import write_atomic
from dtfl_private.leakage.results.result import Result
from dtfl_private.report.pictures.gallery import gallery
from dtfl_private.report.pictures.leakage import leakage_picture

# Over tiers, the figures that people compare.
OVER_TIERS = ("psnr", "ssim", "token-accuracy", "identifiability")


def save_pictures(folder: Path, verdicts: Sequence[Verdict], results: Sequence[Result]) -> list[Path]:
    """Write a gallery for each tier and set of victims, and the metrics over tiers if there are several.

    Args:
        folder: where to write.
        verdicts: of this call.
        results: all that are known, for the pictures over tiers.
    """
    saved = []
    for verdict_group in _same_victims(verdicts):
        saved.append(folder / f"{_file_name(verdict_group)}.png")
        write_atomic(saved[-1], _gallery(verdict_group))
    for metric in OVER_TIERS:
        tiers = {result.tier for result in results if result.metric == metric}
        if len(tiers) > 1:
            saved.append(folder / f"{metric}-by-tier.png")
            write_atomic(saved[-1], leakage_picture(results, metric, title=f"what leaks at each tier: {metric}"))
    return saved


def _same_victims(verdicts: Sequence[Verdict]) -> list[list[Verdict]]:
    """Return reconstructions in groups that show the same images at the same tier."""
    groups: list[list[Verdict]] = []
    for verdict in verdicts:
        if verdict.pictured is None:
            continue
        for group in groups:
            if group[0].job.tier == verdict.job.tier and _same(group[0].pictured, verdict.pictured):
                group.append(verdict)
                break
        else:
            groups.append([verdict])
    return groups


def _same(one: Pictured | None, other: Pictured) -> bool:
    return one is not None and one.truth.shape == other.truth.shape and torch.equal(one.truth, other.truth)


def _file_name(group: Sequence[Verdict]) -> str:
    return f"tier-{group[0].job.tier}-{'-'.join(dict.fromkeys(verdict.job.chosen.name for verdict in group))}"


def _gallery(group: Sequence[Verdict]) -> bytes:
    first = group[0].pictured
    assert first is not None
    guesses: dict[str, Tensor] = {}
    # The strongest first: victims are ordered by how well they were reconstructed by it.
    for verdict in sorted(group, key=lambda verdict: -_ssim(verdict)):
        assert verdict.pictured is not None
        name = verdict.job.chosen.name + ("" if verdict.job.chosen.attack.adaptive else ",\nnot adaptive")
        while name in guesses:  # the same attack with other settings
            name += "'"
        guesses[name] = verdict.pictured.guesses[0]
    guesses[first.baseline_name] = first.baseline
    cut = "x".join(map(str, group[0].results[0].cut))
    return gallery(first.truth, guesses, title=f"tier {group[0].job.tier}, cut {cut}, seed 0")


def _ssim(verdict: Verdict) -> float:
    assert verdict.pictured is not None
    return float(verdict.pictured.scores["ssim"].mean())
