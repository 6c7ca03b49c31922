"""Count the labels of a client that sends the update of a whole network, and neither activations nor labels."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dtfl_private.attacking.base import ANY_INPUTS, AttackFacts, LabelInference, Target
from dtfl_private.attacking.view import View
from dtfl_private.attacks.shared.counted_labels import counted_labels
from dtfl_private.errors import InputError


@dataclass(frozen=True, kw_only=True)
class LabelCounts(LabelInference):
    """Estimate how many records of each class a client trained on, from what that did to the last layer.

    By the equations of Ma et al. 2023 (CVPR, "Instance-wise batch label restoration via gradients in federated
    learning") where clients take steps of SGD; by regression from rounds that the adversary simulates on auxiliary
    records of drawn label shares, for Adam, many steps and behind defenses; which reads better is decided on simulated
    rounds. Without auxiliary images Adam's steps show by their signs which classes there are.

    Which record has which label the update does not say: what is judged is how many labels can be matched.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "client-weights", "updates"}),
        recipe="how many records of each class, from the change of the last layer",
        source="Ma et al. 2023, CVPR",
        whole=True,
        inputs=ANY_INPUTS,
    )

    def check(self, target: Target) -> None:
        """Refuse clients that send their labels."""
        super().check(target)
        if not target.whole:
            raise InputError(
                "label-counts counts labels that are not sent; clients in this tier send theirs with the smashed data: "
                "use --attack label-inference where a defense changes them"
            )

    def infer(self, view: View) -> Tensor:
        """Return labels (victims,), int64, of each client in ascending order: that of its records is not known."""
        found = []
        for number, (seen, update) in enumerate(view.updates):
            counts = counted_labels(view, seen, update, self.effort, adaptive=self.adaptive)
            found.append(torch.repeat_interleave(torch.arange(view.classes), counts))
            view.progress(number + 1, len(view.updates))
        return torch.cat(found)
