"""What a trained network says of images, and how right it is where the true classes are known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dtfl_private.protocol.contracts import IntArray

UNKNOWN = -1
"""The true label of an image whose class nobody told."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """How right predictions are, over the images whose true class is known.

    Attributes:
        images: how many these are.
        accuracy: share of them whose class is predicted.
        recall: the same for each class of which there are images, by its name.
    """

    images: int
    accuracy: float
    recall: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What a trained network says of N images.

    Attributes:
        classes: names, by number.
        probabilities: softmax of the logits, float64 (N, classes).
        files: the images' files, where they were read from files.
        true_labels: int64 (N,), the classes that the images' folders are named as; -1 where they are named as none.
        resized: how many images had another size than the network takes.
    """

    classes: tuple[str, ...]
    probabilities: NDArray[np.float64]
    files: Sequence[Path] | None
    true_labels: IntArray
    resized: int = 0

    def __len__(self) -> int:
        return len(self.probabilities)

    def __repr__(self) -> str:
        known = "" if self.judgement is None else f", accuracy {self.judgement.accuracy:.4f}"
        return f"Predictions({len(self)} images, {len(self.classes)} classes{known})"

    @property
    def labels(self) -> IntArray:
        """Number of each image's most probable class, int64 (N,)."""
        labels: IntArray = self.probabilities.argmax(axis=1)
        return labels

    @property
    def names(self) -> list[str]:
        """Name of each image's most probable class."""
        return [self.classes[label] for label in self.labels]

    def top(self, count: int) -> list[list[tuple[str, float]]]:
        """Return each image's most probable classes with their probabilities, the most probable first."""
        order = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :count]
        return [
            [(self.classes[label], float(row[label])) for label in labels]
            for row, labels in zip(self.probabilities, order, strict=True)
        ]

    @property
    def judgement(self) -> Judgement | None:
        """How right they are; None where no true class is known."""
        return judged(self.labels, self.true_labels, self.classes)

    @property
    def accuracy(self) -> float | None:
        """Share of the images of known class whose class is predicted; None where there are none."""
        return None if self.judgement is None else self.judgement.accuracy

    @property
    def recall(self) -> Mapping[str, float]:
        """Share of each class's images whose class is predicted, by the class's name; empty where none are known."""
        return {} if self.judgement is None else self.judgement.recall


def judged(labels: IntArray, true_labels: IntArray, classes: Sequence[str]) -> Judgement | None:
    """Return how right predicted labels are; None where no true one is known."""
    known = true_labels != UNKNOWN
    if not known.any():
        return None
    right, true = (labels == true_labels)[known], true_labels[known]
    recall = {classes[label]: float(right[true == label].mean()) for label in np.unique(true).tolist()}
    return Judgement(images=len(right), accuracy=float(right.mean()), recall=recall)
