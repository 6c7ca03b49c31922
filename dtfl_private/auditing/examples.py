"""Victims that a report shows on top: the true image, what the strongest attack made of it, and a guess."""

import io
from collections.abc import Mapping, Sequence

from PIL import Image
from torch import Tensor

from dtfl_private.attacking.scoring.rebuilt import Pictured
from dtfl_private.attacking.scoring.scoring import Verdict
from dtfl_private.printable import printable
from dtfl_private.protocol.contracts import FloatArray
from dtfl_private.report.pictures.gallery import choose_victims
from dtfl_private.verdicts.example import Example, View
from dtfl_private.verdicts.findings import TierVerdict
from dtfl_private.verdicts.selected_results import from_most_exposed

SHOWN = 5
"""Victims of a tier, from the best rebuilt to the worst."""

LARGEST_SIDE = 192
"""Pixels; larger images are shown smaller."""

LONGEST_LABEL = 80
"""Characters of a class's name."""

ExamplePictures = Mapping[str, bytes]
"""PNG files by name."""


def examples(
    verdicts: Sequence[Verdict], tiers: Sequence[TierVerdict], labels: Tensor, classes: Sequence[str]
) -> tuple[list[Example], ExamplePictures]:
    """Return examples of the most and of the least exposed tier whose images were rebuilt, and their pictures.

    Args:
        verdicts: of the attacks on the run, with guesses.
        tiers: what the audit says of each tier.
        labels: (N,) of the training set.
        classes: names of the classes, by label.
    """
    rebuilt = {tier.tier: best for tier in tiers if (best := _strongest(verdicts, tier.tier)) is not None}
    ranked = [tier.tier for tier in from_most_exposed(tiers) if tier.tier in rebuilt]
    found: list[Example] = []
    pictures: dict[str, bytes] = {}
    for tier in dict.fromkeys([*ranked[:1], *ranked[-1:]]):
        own, files = _examples_of(rebuilt[tier], labels, classes)
        found += own
        pictures |= files
    return found, pictures


def _strongest(verdicts: Sequence[Verdict], tier: int) -> Verdict | None:
    """Return the reconstruction at a tier with the highest mean SSIM, of images that can be shown."""
    shown = [one for one in verdicts if one.job.tier == tier and _showable(one.pictured)]
    return max(shown, key=lambda one: _ssim(one).mean(), default=None)


def _showable(pictured: Pictured | None) -> bool:
    return pictured is not None and pictured.truth.ndim == 4 and pictured.truth.shape[1] in (1, 3)


def _ssim(verdict: Verdict) -> FloatArray:
    assert verdict.pictured is not None
    return verdict.pictured.scores["ssim"]


def _examples_of(verdict: Verdict, labels: Tensor, classes: Sequence[str]) -> tuple[list[Example], dict[str, bytes]]:
    """Return examples of one reconstruction, with the guesses of its first repetition."""
    pictured, scored = verdict.pictured, verdict.scored
    assert pictured is not None
    assert scored is not None
    ssim, psnr = pictured.scores["ssim"][0], pictured.scores["psnr"][0]
    views: Mapping[View, Tensor] = {
        "true": pictured.truth,
        "rebuilt": pictured.guesses[0],
        "guess": pictured.baseline,
    }
    found: list[Example] = []
    pictures: dict[str, bytes] = {}
    for place, victim in enumerate(choose_victims(ssim, SHOWN).tolist(), start=1):
        label = int(labels[int(scored.records[victim])])
        example = Example(
            tier=verdict.job.tier,
            place=place,
            attack=verdict.job.chosen.name,
            label=short_label(classes, label),
            ssim=float(ssim[victim]),
            psnr=float(psnr[victim]),
            victims=len(ssim),
        )
        found.append(example)
        pictures |= {example.file(view): png(images[victim]) for view, images in views.items()}
    return found, pictures


def short_label(classes: Sequence[str], label: int) -> str | None:
    """Return the name of a class, cut if it is long; None where the data set names none."""
    name = printable(classes[label]).strip() if label < len(classes) else ""
    return (name if len(name) <= LONGEST_LABEL else f"{name[: LONGEST_LABEL - 1]}…") or None


def png(image: Tensor) -> bytes:
    """Return an image (C, H, W) in [0, 1], of one channel or three, as a PNG file of at most `LARGEST_SIDE`."""
    pixels = image.detach().cpu().clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
    shown = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    shown.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    file = io.BytesIO()
    shown.save(file, "PNG")
    return file.getvalue()
