"""Attacks from outside set against our own."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from attack_reports import of
from fast_attacks import SEES, Blind, LeastSquares

from dtfl_private.attacking.base import (
    AttackFacts,
    AttributeInference,
    LabelInference,
    MembershipInference,
    Reconstruction,
)
from dtfl_private.attacking.ladder import (
    LADDER,
    OF_REPLIES,
    OF_TAILS,
    OF_UPDATES,
    WITHOUT_WEIGHTS,
    ladder_of,
    rungs_for,
)
from dtfl_private.attacks import gradient_labels
from dtfl_private.attacks.decoder import Decoder
from dtfl_private.attacks.matching import MembershipMatching
from dtfl_private.attacks.update_inversion import UpdateInversion
from dtfl_private.defenses.label_rr import LabelRr
from dtfl_private.plugins.installed import installed
from dtfl_private.plugins.registry import create


def test_the_ladder_has_what_is_after_the_same_and_is_not_named_already():
    assert rungs_for([Blind()], set(), LADDER) == ["decoder", "optimization", "hybrid", "unshuffle"]
    assert rungs_for([Decoder(), MembershipMatching()], {"decoder", "lira"}, LADDER) == [
        *("optimization", "hybrid", "unshuffle"),
        "membership-matching",
    ]


@pytest.mark.parametrize("ladder", [LADDER, OF_REPLIES, OF_TAILS, OF_UPDATES, WITHOUT_WEIGHTS])
def test_every_rung_is_an_attack_with_this_goal(ladder):
    for goal, names in ladder.items():
        for name in names:
            assert name in installed("attack")
            assert isinstance(create("attack", name), goal)


def test_rungs_can_run_on_what_their_ladder_is_for():
    for names in OF_UPDATES.values():
        assert all(create("attack", name).facts.whole for name in names)
    for names in WITHOUT_WEIGHTS.values():
        assert not any("client-weights" in create("attack", name).facts.needs for name in names)


@pytest.mark.parametrize(
    ("method", "whole", "rungs"),
    [
        ("dtfl", False, ["label-inference", "label-clustering"]),
        ("splitfed-v1", False, ["label-inference", "label-clustering", "gradient-labels"]),
        ("splitfed-v2", False, ["label-inference", "label-clustering", "gradient-labels"]),
        ("u-shaped", False, ["label-inference", "label-clustering", "gradient-labels", "label-matching"]),
        ("dtfl-full", True, ["label-inference", "label-clustering", "label-counts"]),
        ("fedavg", True, ["label-counts"]),
        ("fedgkt", False, []),
    ],
)
def test_labels_are_attacked_by_all_that_a_method_shows(method, whole, rungs):
    ladder = ladder_of(create("method", method), whole=whole)
    assert list(ladder.get(LabelInference, ())) == rungs


def test_both_attack_the_same_victims_and_it_is_said_who_is_ahead(trained, mount, monkeypatch):
    monkeypatch.setitem(LADDER, Reconstruction, ("optimization", "unshuffle"))
    report = mount(trained(), [Blind()], tiers=[1], against="ladder", effort="quick")
    line, absent = report.remarks[:2]
    mine, theirs = (of(report, "psnr", source) for source in ("blind", "optimization"))
    assert mine.n == theirs.n
    shown = f"PSNR, dB {mine.value:.1f}, optimization {theirs.value:.1f}: {mine.value - theirs.value:+.1f} ("
    assert line.startswith(f"tier 1, blind against the ladder: {shown}")
    assert absent.startswith("not in the ladder here: unshuffle undoes one shuffle")
    assert [one.attack for one in report.left_out] == ["unshuffle"]


@dataclass(frozen=True, kw_only=True)
class Guessed(MembershipInference):
    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES, recipe="chance")

    def scores(self, view):
        return torch.rand(len(view.candidates.images), generator=view.chance())


@dataclass(frozen=True, kw_only=True)
class Dark(AttributeInference):
    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES, recipe="all are dark")

    def values(self, images, labels, auxiliary):
        return (images.flatten(1).mean(dim=1) > auxiliary.images.mean()).long()

    def infer(self, view):
        return torch.zeros(view.victims, dtype=torch.int64)


@dataclass(frozen=True, kw_only=True)
class Measured(Dark):
    def infer(self, view):
        return self.values(LeastSquares().reconstruct(view), torch.empty(0), view.auxiliary)


@dataclass(frozen=True, kw_only=True)
class Sent(LabelInference):
    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES, recipe="the label as it was sent")

    def infer(self, view):
        return torch.cat([batch.labels for seen in view.seen for batch in seen.batches])


@pytest.mark.parametrize(
    ("attack", "rung", "metric", "defenses"),
    [
        (Guessed(), "membership-matching", "auc", None),
        (Dark(), "measured", "accuracy", None),
        (Sent(), "label-clustering", "accuracy", [LabelRr(epsilon=1.0)]),
    ],
    ids=["membership", "property", "labels"],
)
def test_who_is_ahead_is_said_of_what_is_no_image_too(
    attack, rung, metric, defenses, trained, mount, monkeypatch, offer
):
    offer("attack", "measured", Measured)
    for goal in (MembershipInference, AttributeInference, LabelInference):
        monkeypatch.setitem(LADDER, goal, (rung,))
    folder = trained(defenses=defenses) if defenses else trained()
    report = mount(folder, [attack], tiers=[1], against="ladder", effort="quick", defenses=defenses)
    (mine,) = [found for found in report.results if found.metric == metric and found.source != rung]
    theirs = of(report, metric, rung)
    label = {"auc": "AUC", "accuracy": "accuracy"}[metric]
    shown = f"{label} {mine.value:.3f}, {rung} {theirs.value:.3f}: {mine.value - theirs.value:+.3f} ("
    assert report.remarks[0].startswith(f"tier 1, {mine.source} against the ladder: {shown}")


@dataclass(frozen=True, kw_only=True)
class Zeros(LabelInference):
    facts: ClassVar[AttackFacts] = AttackFacts(needs=frozenset({"replies"}), recipe="all are of class 0")

    def infer(self, view):
        return torch.zeros(sum(len(reply.gradient) for [reply] in view.replies), dtype=torch.int64)


def test_where_gradients_are_returned_it_is_set_against_what_attacks_these(trained, mount, monkeypatch):
    monkeypatch.setattr(gradient_labels, "LEARNT_FROM", 300)
    report = mount(trained(method="splitfed-v1"), [Zeros()], against="ladder", effort="quick")
    assert report.remarks[0].startswith("tier 2, zeros against the ladder: accuracy ")
    assert ", gradient-labels " in report.remarks[0]
    assert [one.attack for one in report.left_out] == [
        "label-inference",
        "label-clustering",
    ]  # labels are not protected


@dataclass(frozen=True, kw_only=True)
class Grey(Reconstruction):
    facts: ClassVar[AttackFacts] = AttackFacts(needs=frozenset({"updates"}), recipe="", whole=True)

    def reconstruct(self, view):
        return torch.full((view.victims, *view.input_shape), 0.5)


@pytest.fixture
def short_search(monkeypatch):
    """Let update-inversion, whose guesses are not looked at here, take few steps."""
    monkeypatch.setattr(UpdateInversion, "normal_steps", {"steps": 30})


@pytest.mark.usefixtures("short_search")
def test_on_updates_of_whole_networks_it_is_set_against_what_attacks_these(trained, mount):
    folder = trained(method="fedavg", optimizer="sgd", batch_size=64, max_train_images=6, rounds=1)
    report = mount(folder, [Grey()], against="ladder", effort="quick")
    assert report.remarks[0].startswith("tier 4, grey against the ladder: PSNR, dB ")
    assert ", update-inversion " in report.remarks[0]
    assert not report.left_out


@pytest.mark.usefixtures("short_search")
def test_in_the_tier_of_the_whole_network_it_has_what_attacks_updates(trained, mount, monkeypatch):
    monkeypatch.setitem(LADDER, Reconstruction, ())
    folder = trained(method="dtfl-full", scheduler="static:4", optimizer="sgd", max_train_images=6, rounds=1)
    report = mount(folder, [Grey()], tiers=[4], against="ladder", effort="quick")
    assert report.remarks[0].startswith("tier 4, grey against the ladder: PSNR, dB ")
    assert ", update-inversion " in report.remarks[0]


def test_without_it_nothing_is_added(trained, mount):
    report = mount(trained(), [LeastSquares()], tiers=[1])
    assert {result.source for result in report.results if result.adversary} == {"least-squares"}
    assert not any("ladder" in remark for remark in report.remarks)
