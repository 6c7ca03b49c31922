"""Infer labels from the gradients that a server returns at the cut: which class a record was pulled to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from dtfl_private.attacking.base import AttackFacts, LabelInference
from dtfl_private.attacking.program import batches_of
from dtfl_private.attacking.view import View

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

# Strengths of the classifier, of which the best on records that it was not trained on is taken.
STRENGTHS = (0.1, 1.0, 10.0, 100.0, 1000.0)
# Gradients below this norm have no direction.
LEAST_NORM = 1e-30


@dataclass(frozen=True, kw_only=True)
class GradientLabels(LabelInference):
    """Learn from the gradients returned for records of one's own which label a gradient's norm and direction tell.

    The gradient of a record is the server half's Jacobian times p - y, with p the predicted probabilities and y the
    label. Li et al. 2022 (ICLR, "Label leakage and protection in two-party split learning", 2102.08504, section 3) tell
    two classes by its norm, and by its cosine with the gradient of a record of known label. Here several classes are
    told by a linear classifier on both. The adversary is a client itself, so that the server answers its own labelled
    records; it need not see what the others send.

    The server that computes these gradients has been sent the labels, and learns nothing from them. Where labels are
    protected (`label-rr`), gradients are of the protected ones, and no more can be told. Own gradients are those of the
    round's first batch: later batches of a round are met by a server half that has moved on.

    Attributes:
        labels_per_class: own records of each class that are sent; 0 for all.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"replies", "auxiliary-data"}),
        recipe="linear classifier from norm and direction of the returned gradients to labels",
        source="after Li et al. 2022, 2102.08504",
    )

    labels_per_class: Annotated[int, Field(ge=0)] = 0

    def infer(self, view: View) -> Tensor:
        """Return the likeliest label of each victim."""
        returned = [reply.gradient.float().cpu() for replies in view.replies for reply in replies]
        size = max(len(gradient) for gradient in returned)
        data = view.auxiliary
        gradients, labels = self._own(view, data.images, data.labels, size, "train")
        held = self._own(view, data.validation_images, data.validation_labels, size, "validation")
        classifier = _fitted(gradients, labels, *held)
        victims = torch.cat([features(gradient, size) for gradient in returned])
        return torch.from_numpy(np.asarray(classifier.predict(victims.numpy()), dtype=np.int64))

    def _own(self, view: View, images: Tensor, labels: Tensor, size: int, use: str) -> tuple[Tensor, Tensor]:
        """Return features of the gradients returned for one's own records, and their labels."""
        chance = view.chance("own records", use)
        parts = list(batches_of(len(labels), size, chance))
        found = [features(view.replies_to(images[own], labels[own]).cpu(), size) for own in parts]
        places = torch.cat(parts)
        kept = _few(labels[places], self.labels_per_class)
        return torch.cat(found)[kept], labels[places][kept]


def features(gradients: Tensor, size: int) -> Tensor:
    """Return direction and norm (N, D + 1) of gradients (N, *cut shape) of a batch's mean loss.

    Args:
        gradients: of records of one batch.
        size: of a full batch; smaller ones weigh their records more, which is taken back.
    """
    flat = gradients.flatten(1).double() * len(gradients) / size
    norms = flat.norm(dim=1, keepdim=True).clamp(min=LEAST_NORM)
    return torch.cat([flat / norms, norms.log() / 10], dim=1)


def norm_scores(gradients: Tensor) -> Tensor:
    """Return Li et al.'s norm score (N,) of gradients (N, *cut shape): the rarer of two classes has the larger ones."""
    scores: Tensor = gradients.flatten(1).norm(dim=1)
    return scores


def direction_scores(gradients: Tensor, known: Tensor) -> Tensor:
    """Return Li et al.'s cosine score (N,) of gradients (N, *cut shape) with one (*cut shape) of the class sought."""
    scores: Tensor = F.cosine_similarity(gradients.flatten(1), known.flatten()[None], dim=1)
    return scores


def _few(labels: Tensor, count: int) -> Tensor:
    """Return which records (N,), bool, are among the first so many of their class; all if that is 0."""
    if count == 0:
        return torch.ones_like(labels, dtype=torch.bool)
    earlier = torch.stack([(labels[:place] == label).sum() for place, label in enumerate(labels)])
    return earlier < count


def _fitted(gradients: Tensor, labels: Tensor, held: Tensor, held_labels: Tensor) -> "LogisticRegression":
    """Return a classifier of features, of the strength that is best on records held back."""
    from sklearn.linear_model import LogisticRegression  # scikit-learn takes a while to load

    found: list[tuple[float, LogisticRegression]] = []
    for strength in STRENGTHS:
        classifier = LogisticRegression(C=strength, max_iter=300).fit(gradients.numpy(), labels.numpy())
        found.append((float(classifier.score(held.numpy(), held_labels.numpy())), classifier))
    return max(found, key=_first)[1]


def _first(scored: Sequence[object]) -> float:
    score = scored[0]
    assert isinstance(score, float)
    return score
