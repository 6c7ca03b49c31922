"""Attacks of several steps tell how far all of them are: the bar never stands at its end while work is left."""

from itertools import pairwise

import pytest
from torch import nn

from dtfl_private.attacks.attribute import AttributeInference
from dtfl_private.attacks.hybrid import Hybrid
from dtfl_private.attacks.shared import inverse_network, posterior_mean
from dtfl_private.attacks.surrogate import Surrogate
from dtfl_private.attacks.unshuffle import Unshuffle
from dtfl_private.defenses.laplace_noise import LaplaceNoise
from dtfl_private.defenses.patch_shuffle import PatchShuffle
from dtfl_private.randomness import isolated

FEW = {"decoder_steps": 12, "steps": 6}


def stem():
    with isolated(0, "stem"):
        return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU())


@pytest.fixture(autouse=True)
def little_work(monkeypatch):
    """Narrow networks, and as few images as suffice for a mean to be tried: how good they are does not matter here."""
    monkeypatch.setattr(posterior_mean, "MOST_IMAGES", 20 * posterior_mean.FEWEST_IMAGES // 16)
    monkeypatch.setattr(inverse_network, "_WIDTHS", {"small": 64, "medium": 64, "large": 128})


@pytest.mark.parametrize(
    ("attack", "defenses"),
    [
        (Hybrid(size="best", **FEW), ()),
        (Hybrid(size="small", **FEW), (LaplaceNoise(sd=0.2),)),
        (Surrogate(shadows=2, **FEW), ()),
        (Unshuffle(matching_epochs=2, **FEW), (PatchShuffle(patch=4),)),
    ],
)
def test_progress_goes_on_to_the_end_and_not_before(make_view, small_digits, attack, defenses):
    shares = []
    server = nn.Sequential(nn.Flatten(), nn.Linear(4 * 8 * 8, 10))
    view, _ = make_view(stem(), *defenses, images=small_digits, auxiliary=120, server=server)
    view.progress = lambda done, total: shares.append(done / total)
    attack.reconstruct(view)
    assert all(later >= sooner - 1e-9 for sooner, later in pairwise(shares))
    assert max(later - sooner for sooner, later in pairwise([0.0, *shares])) < 0.3
    assert shares[-1] > 0.7
    assert shares.index(max(shares)) > len(shares) - 20


def test_a_part_of_a_part_of_the_work_is_counted_within_it(make_view):
    told = []
    view, _ = make_view(stem())
    view.progress = lambda done, total: told.append(done / total)
    inner = view.part(0.5, 1.0).part(0.0, 0.5)
    inner.progress(1, 2)
    inner.progress(2, 2)
    view.part(0.2, 0.4).progress(0, 0)
    assert told == pytest.approx([0.625, 0.75, 0.2])


def test_a_property_is_inferred_after_two_reconstructions(make_view, small_digits):
    shares = []
    view, _ = make_view(stem(), images=small_digits, auxiliary=120)
    view.progress = lambda done, total: shares.append(done / total)
    AttributeInference(decoder_steps=12, search_steps=6).infer(view)
    assert all(later >= sooner - 1e-9 for sooner, later in pairwise(shares))
