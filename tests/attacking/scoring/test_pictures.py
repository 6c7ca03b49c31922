from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fast_attacks import Blind, LeastSquares

from dtfl_private.attacking.attack_jobs import Job
from dtfl_private.attacking.chosen_attack import Chosen
from dtfl_private.attacking.scoring import pictures
from dtfl_private.attacking.scoring.pictures import save_pictures
from dtfl_private.attacking.scoring.rebuilt import Pictured
from dtfl_private.attacking.scoring.scoring import Verdict
from dtfl_private.protocol.adversaries import ADVERSARIES

CURIOUS = ADVERSARIES["server-honest-but-curious"]


@dataclass
class Drawn:
    """What the pictures were drawn of: the names of the columns of each gallery, and the titles of the rest."""

    columns: list[list[str]]
    titles: list[str]


@pytest.fixture
def drawn(monkeypatch):
    found = Drawn([], [])

    def gallery(_, guesses, *, title):
        found.columns.append(list(guesses))
        return title.encode()

    def leakage_picture(_, metric, *, title):
        found.titles.append(title)
        return metric.encode()

    monkeypatch.setattr(pictures, "gallery", gallery)
    monkeypatch.setattr(pictures, "leakage_picture", leakage_picture)
    return found


@pytest.fixture
def verdict(figure):
    """Make up what an attack reached: ``verdict(attack, tier, ssim, truth)``."""

    def make(attack, tier, ssim, truth=0.0):
        pictured = Pictured(
            truth=torch.full((2, 1, 4, 4), truth),
            guesses=[torch.zeros(2, 1, 4, 4)],
            baseline=torch.zeros(2, 1, 4, 4),
            baseline_name="mean-image",
            scores={"ssim": np.array([[ssim, ssim]])},
        )
        chosen = Chosen(attack=attack, text=repr(attack), adversary=CURIOUS)
        return Verdict(job=Job(chosen=chosen, tier=tier), results=[figure(tier, ssim)], pictured=pictured)

    return make


def test_attacks_on_the_same_images_share_a_gallery_the_strongest_first(verdict, drawn, tmp_path):
    verdicts = [
        verdict(LeastSquares(), 1, 0.3),
        verdict(Blind(), 1, 0.7),
        verdict(LeastSquares(ridge=1.0), 1, 0.2),
        verdict(LeastSquares(adaptive=False), 1, 0.1),
        verdict(LeastSquares(), 1, 0.4, truth=1.0),
        verdict(LeastSquares(), 2, 0.5),
        SimpleNamespace(pictured=None),
    ]
    saved = save_pictures(tmp_path, verdicts, [])
    assert [path.name for path in saved] == [
        "tier-1-least-squares-blind.png",
        "tier-1-least-squares.png",
        "tier-2-least-squares.png",
    ]
    together = ["blind", "least-squares", "least-squares'", "least-squares,\nnot adaptive", "mean-image"]
    assert drawn.columns == [together, ["least-squares", "mean-image"], ["least-squares", "mean-image"]]
    assert saved[2].read_bytes() == b"tier 2, cut 4x8x8, seed 0"


def test_leakage_over_tiers_is_drawn_where_there_are_several(figure, drawn, tmp_path):
    results = [figure(1, 0.5), figure(2, 0.4), figure(1, 20.0, metric="psnr"), figure(1, 0.1, metric="mse")]
    results += [figure(2, 0.1, metric="mse")]
    saved = save_pictures(tmp_path, [], results)
    assert [path.name for path in saved] == ["ssim-by-tier.png"]
    assert saved[0].read_bytes() == b"ssim"
    assert drawn.titles == ["what leaks at each tier: ssim"]
