from dataclasses import dataclass
from typing import ClassVar

import torch
from attack_reports import of
from fast_attacks import SEES, LeastSquares

from dtfl_private.attacking.base import AttackFacts, AttributeInference, LabelInference
from dtfl_private.attacking.scoring.value_scoring import majority_by_label


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


def test_the_commonest_value_of_a_label_is_guessed_and_of_all_where_the_label_is_unknown():
    values = torch.tensor([0, 1, 1, 2, 2, 2])
    labels = torch.tensor([5, 5, 5, 6, 6, 7])
    assert majority_by_label(values, labels, torch.tensor([5, 6, 8, 5])).tolist() == [1, 2, 2, 1]
