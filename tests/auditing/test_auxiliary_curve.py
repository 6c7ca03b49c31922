"""Leakage against the attacker's data: a made-up attack that gets more with more images, and when there is no curve."""

import re
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from audit_progress import HeardJobs
from fast_attacks import SEES

from dtfl_private.attacking import runner as attacking
from dtfl_private.attacking.base import AttackFacts, Reconstruction
from dtfl_private.auditing import auxiliary_curve as curves
from dtfl_private.auditing.attack_trainings import attack_training
from dtfl_private.auditing.auxiliary_curve import auxiliary_curve
from dtfl_private.auditing.trainings import AttackedTraining
from dtfl_private.runtime.callback import Callback
from dtfl_private.verdicts.findings import NotTested


@dataclass(frozen=True, kw_only=True)
class Counting(Reconstruction):
    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES, recipe="the mean image, with noise that images remove")

    def reconstruct(self, view):
        noise = torch.randn(view.victims, *view.input_shape, generator=torch.Generator().manual_seed(0))
        return view.auxiliary.images.mean(dim=0) + 10 * noise / len(view.auxiliary.images)


@dataclass(frozen=True, kw_only=True)
class Unlearned(Counting):
    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES - {"auxiliary-data"}, recipe="grey")

    def reconstruct(self, view):
        return torch.full((view.victims, *view.input_shape), 0.5)


@pytest.fixture
def curve(opened, plan, monkeypatch):
    """Attack a run, and draw the curve: ``curve(attacks, listener, **settings)``. The audit has 50 images."""
    monkeypatch.setattr(attacking, "save_pictures", lambda *_: [])
    monkeypatch.setattr(curves, "SIZES", (15, 30, 60))

    def drawn(attacks, listener=None, **settings):
        audit = plan(opened(), attacks, **{"tiers": (1, 2), "seeds": 2, "aux_curve": "on", **settings})
        training = AttackedTraining(run=audit.opened.folder, undefended=None, folder=audit.folder)
        report = attack_training(audit, training, Callback())
        return auxiliary_curve(audit, report, listener or Callback()), report

    return drawn


def test_more_images_get_more_and_the_last_point_is_the_audit_s_own(curve):
    points, report = curve([Unlearned(), Counting()])
    of_ssim = [point for point in points if point.result.metric == "ssim"]
    assert [point.images for point in of_ssim] == [15, 30, 50]
    values = [point.result.value for point in of_ssim]
    assert values == sorted(values)
    assert values[0] < values[-1] - 0.1
    assert {(point.result.source, point.result.tier, point.result.seeds) for point in points} == {("counting", 2, 1)}
    (own,) = (one for one in report.verdicts if (one.job.chosen.name, one.job.tier) == ("counting", 2))
    assert values[-1] == pytest.approx(own.pictured.scores["ssim"][0].mean())
    assert {point.result.n for point in points} == {len(own.pictured.truth)}


def test_a_trivial_guess_has_the_same_images_and_no_more(curve):
    points, _ = curve([Counting()])
    guesses = [point.result.baseline for point in points if point.result.metric == "psnr"]
    assert None not in guesses
    assert len(set(guesses)) == 3


def test_guesses_are_cached_and_the_audit_s_own_is_found(curve):
    first, second = HeardJobs(), HeardJobs()
    once, again = curve([Counting()], first)[0], curve([Counting()], second)[0]
    assert once == again
    labels = [f"counting, tier 2, seed 0, {size} auxiliary images" for size in sorted({p.images for p in once})]
    assert first.announced == labels
    assert first.kept == dict(zip(labels, ([False], [False], [True]), strict=True))
    assert second.kept == {label: [True] for label in labels}


@pytest.mark.parametrize(
    ("attacks", "settings", "why"),
    [
        ([Counting()], {"aux_curve": "off"}, r"not asked for \(--aux-curve on\)"),
        ([Counting()], {"aux_images": 18}, "the adversary has 15 images to train on: more than 15 are needed"),
        ([Unlearned()], {"aux": "architecture"}, r"the adversary has no images of its own \(--aux architecture\)"),
        ([Unlearned()], {}, "no reconstruction that learns from auxiliary images was judged"),
    ],
)
def test_where_there_is_no_curve_it_is_said_why(curve, attacks, settings, why):
    found, _ = curve(attacks, **settings)
    assert isinstance(found, NotTested)
    assert re.match(why, found.why)
    assert found.what == "leakage against the adversary's data"
