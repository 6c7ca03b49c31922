import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from audit_samples import full
from PIL import Image

from dtfl_private.attacking.scoring.rebuilt import Pictured
from dtfl_private.auditing.examples import LARGEST_SIDE, LONGEST_LABEL, examples, png, short_label


def rebuilt(tier, name, ssim, *, channels=1, records=range(8)):
    """Return what one attack rebuilt at a tier: image i is grey of shade i / 10, its reconstruction a shade lighter."""
    count = len(records)
    truth = torch.stack([torch.full((channels, 4, 6), number / 10) for number in range(count)])
    scores = {"ssim": np.array([ssim]), "psnr": np.array([[20.0] * count])}
    guess = torch.zeros_like(truth)
    pictured = Pictured(truth=truth, guesses=[truth + 0.05], baseline=guess, baseline_name="mean-image", scores=scores)
    job = SimpleNamespace(tier=tier, chosen=SimpleNamespace(name=name))
    return SimpleNamespace(job=job, pictured=pictured, scored=SimpleNamespace(records=torch.tensor(list(records))))


LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2, 0])
CLASSES = ("ape", "bee", "cow")
FALLING = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]


def test_the_most_and_the_least_exposed_tier_are_shown_by_their_strongest_attack_from_best_to_worst():
    weak = [value - 0.1 for value in FALLING]
    attacks = [rebuilt(tier, name, ssim) for tier in (1, 2, 4) for name, ssim in (("weak", weak), ("strong", FALLING))]
    found, pictures = examples(attacks, full().verdict, LABELS, CLASSES)
    assert [(one.tier, one.place, one.attack) for one in found[:5]] == [(1, place, "strong") for place in range(1, 6)]
    assert {one.tier for one in found} == {1, 4}
    assert found[0].ssim == 0.9
    assert found[4].ssim == 0.2
    assert [one.ssim for one in found[:5]] == sorted((one.ssim for one in found[:5]), reverse=True)
    assert (found[0].label, found[4].label, found[0].victims) == ("ape", "bee", 8)
    assert set(pictures) == {one.file(view) for one in found for view in ("true", "rebuilt", "guess")}
    shades = [Image.open(io.BytesIO(pictures[f"tier-1-5-{view}.png"])).getpixel((0, 0)) for view in ("true", "rebuilt")]
    assert shades == [round(0.7 * 255), round(0.75 * 255)]


def test_what_cannot_be_shown_gives_no_examples():
    assert examples([rebuilt(1, "strong", FALLING, channels=5)], full().verdict, LABELS, CLASSES) == ([], {})
    members = SimpleNamespace(job=SimpleNamespace(tier=1), pictured=None)
    assert examples([members], full().verdict, LABELS, CLASSES) == ([], {})


def test_long_and_missing_names_of_classes():
    assert short_label(("a" * 200,), 0) == "a" * (LONGEST_LABEL - 1) + "…"
    assert short_label(("\x1b[31m",), 0) == "\\x1b[31m"
    assert (short_label(("",), 0), short_label((), 0)) == (None, None)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_large_images_are_shown_smaller(channels, mode):
    shown = Image.open(io.BytesIO(png(torch.rand(channels, 400, 300))))
    assert (shown.mode, shown.size) == (mode, (LARGEST_SIDE * 3 // 4, LARGEST_SIDE))
    assert Image.open(io.BytesIO(png(torch.rand(channels, 8, 8)))).size == (8, 8)
