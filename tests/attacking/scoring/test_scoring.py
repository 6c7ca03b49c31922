"""Guesses meet the ground truth."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from attack_reports import of
from fast_attacks import SEES, LeastSquares
from recall import Remembers

from dtfl_private.attacking.base import (
    AttackFacts,
    AttributeInference,
    LabelInference,
)


def test_membership_is_judged_by_who_was_trained_on(trained, mount, patterns):
    report = mount(trained(), [Remembers(images=patterns.train_images)], tiers=[1, 2], victims=24)
    assert of(report, "auc", "remembers").value == 1.0
    assert of(report, "auc", "remembers").adversary in ("curious-client", "model-recipient")


@dataclass(frozen=True, kw_only=True)
class Darkness(AttributeInference):
    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES, recipe="")

    def values(self, images, labels, auxiliary):
        return (images.flatten(1).mean(dim=1) > 0.5).long()

    def infer(self, view):
        return self.values(LeastSquares().reconstruct(view), torch.empty(0), view.auxiliary)


@dataclass(frozen=True, kw_only=True)
class SentLabels(LabelInference):
    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES, recipe="")

    def infer(self, view):
        return torch.cat([batch.labels for seen in view.seen for batch in seen.batches])


def test_properties_and_labels_are_judged_by_the_truth(trained, mount):
    report = mount(trained(), [Darkness(), SentLabels()], tiers=[1], victims=24)
    labels = of(report, "accuracy", "sent-labels")
    assert labels.value == labels.baseline == 1.0
    assert of(report, "accuracy", "darkness").value >= of(report, "accuracy", "darkness").baseline
