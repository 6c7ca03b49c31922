"""Weights of classes in the training loss, from how many images of each class clients say that they have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dtfl_private.protocol.contracts import IntArray
from dtfl_private.protocol.messages import ClassCounts, ClassWeights


@dataclass(frozen=True, kw_only=True)
class ClassRegistration:
    """What was said of classes before round 1.

    Attributes:
        weights: of the classes, float64 (classes,).
        counts: what each client has sent; empty where all images are at one place.
        answers: what the server has answered.
    """

    weights: Tensor
    counts: Sequence[ClassCounts] = ()
    answers: Sequence[ClassWeights] = ()

    @property
    def traffic(self) -> Mapping[str, int]:
        """Bytes of these messages, by kind."""
        return {
            "up_statistics": sum(message.statistics_bytes for message in self.counts),
            "down_statistics": sum(message.statistics_bytes for message in self.answers),
        }


def balanced_weights(counts_C: Tensor) -> Tensor:
    """Return n / (k n_c) for each class c with n_c of n images, of k classes that have any; 1 for a class without.

    As scikit-learn's ``compute_class_weight("balanced", ...)``: the mean over all images is 1. float64 (classes,).
    """
    there = counts_C > 0
    weights = counts_C.sum().double() / (there.sum() * counts_C.clamp(min=1).double())
    return torch.where(there, weights, 1.0)


def register_classes(counts_KC: IntArray, *, central: bool) -> ClassRegistration:
    """Return balanced weights from the clients' counts.

    Args:
        counts_KC: training images of each client and class.
        central: all images are at one place, and nothing needs to be sent.
    """
    messages = [ClassCounts(client=client, counts=torch.from_numpy(own)) for client, own in enumerate(counts_KC)]
    weights = balanced_weights(torch.stack([message.counts for message in messages]).sum(dim=0))
    if central:
        return ClassRegistration(weights=weights)
    answers = [ClassWeights(client=message.client, weights=weights) for message in messages]
    return ClassRegistration(weights=weights, counts=messages, answers=answers)
