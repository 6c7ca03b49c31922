"""What a classifier's answers come to: by class, over all classes, and how well its confidence is calibrated."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dtfl_private.protocol.contracts import FloatArray, IntArray

# Of the reliability diagram and the calibration error: those of Guo et al. (ICML 2017).
BINS = 15


def class_figures(logits_NC: FloatArray, labels_N: IntArray, classes: Sequence[str]) -> dict[str, Any]:
    """Return the figures of a classifier on images, ready for JSON.

    A class without images has None for each of its figures, and does not count in means over classes. A class that is
    never predicted has precision 0, as scikit-learn has it.

    Args:
        logits_NC: its answers, float64.
        labels_N: the true classes.
        classes: names of all C classes.
    """
    from sklearn.metrics import confusion_matrix  # scikit-learn takes a while to load

    shares_NC = softmax(logits_NC)
    predicted_N = logits_NC.argmax(axis=1)
    confusion_CC = confusion_matrix(labels_N, predicted_N, labels=np.arange(len(classes)))
    per_class = _per_class(confusion_CC, shares_NC, labels_N, classes)
    return {
        "n": len(labels_N),
        "accuracy": float((predicted_N == labels_N).mean()),
        "balanced_accuracy": mean_of(per_class, "recall"),
        "macro_precision": mean_of(per_class, "precision"),
        "macro_f1": mean_of(per_class, "f1"),
        "macro_roc_auc": mean_of(per_class, "roc_auc"),
        "nll": _nll(logits_NC, labels_N),
        "brier": _brier(shares_NC, labels_N),
        **calibration(shares_NC, labels_N),
        "per_class": per_class,
        "confusion": confusion_CC.tolist(),
    }


def mean_of(per_class: Sequence[Mapping[str, Any]], which: str) -> float | None:
    """Return the mean of a figure over the classes that have it."""
    known = [one[which] for one in per_class if one[which] is not None]
    return sum(known) / len(known) if known else None


def softmax(logits_NC: FloatArray) -> FloatArray:
    """Return probabilities (N, C)."""
    raised = np.exp(logits_NC - logits_NC.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _per_class(
    confusion_CC: IntArray, shares_NC: FloatArray, labels_N: IntArray, classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the figures of each class: how many images it has and how often it is predicted, and what follows."""
    found, areas = [], _roc_aucs(labels_N, shares_NC)
    for label, name in enumerate(classes):
        images, predicted = int(confusion_CC[label].sum()), int(confusion_CC[:, label].sum())
        right = int(confusion_CC[label, label])
        there = images > 0
        found.append(
            {
                "class": name,
                "support": images,
                "predicted": predicted,
                "precision": (right / predicted if predicted else 0.0) if there else None,
                "recall": right / images if there else None,
                "f1": 2 * right / (images + predicted) if there else None,
                "roc_auc": areas[label],
            }
        )
    return found


def _roc_aucs(labels_N: IntArray, shares_NC: FloatArray) -> list[float | None]:
    """Return the area under the ROC curve of each class against the rest; None where one of the two is missing."""
    from sklearn.metrics import roc_auc_score

    is_it_NC = labels_N[:, None] == np.arange(shares_NC.shape[1])
    (known,) = np.nonzero(is_it_NC.any(axis=0) & ~is_it_NC.all(axis=0))
    areas: list[float | None] = [None] * shares_NC.shape[1]
    if len(known):
        found = roc_auc_score(is_it_NC[:, known], shares_NC[:, known], average=None)  # two classes at least
        for label, area in zip(known, found, strict=True):
            areas[label] = float(area)
    return areas


def _nll(logits_NC: FloatArray, labels_N: IntArray) -> float:
    """Return the mean negative log-likelihood, which is the cross-entropy; from logits, so that it is finite."""
    highest_N = logits_NC.max(axis=1)
    log_sums_N = highest_N + np.log(np.exp(logits_NC - highest_N[:, None]).sum(axis=1))
    return float((log_sums_N - logits_NC[np.arange(len(labels_N)), labels_N]).mean())


def _brier(shares_NC: FloatArray, labels_N: IntArray) -> float:
    """Return the Brier score: the mean squared distance of the probabilities to the truth, 0 to 2."""
    truth_NC = np.eye(shares_NC.shape[1])[labels_N]
    return float(((shares_NC - truth_NC) ** 2).sum(axis=1).mean())


def calibration(shares_NC: FloatArray, labels_N: IntArray) -> dict[str, Any]:
    """Return the expected calibration error of the predicted class (Guo et al. 2017), and the bins it is made of.

    Images are put into `BINS` bins of equal width by their confidence, the highest probability, bounds belonging to the
    bin below; the error is the mean distance of accuracy and mean confidence over the bins, weighted by their images.
    """
    confidence_N, right_N = shares_NC.max(axis=1), shares_NC.argmax(axis=1) == labels_N
    bin_N = np.clip(np.ceil(confidence_N * BINS).astype(np.int64) - 1, 0, BINS - 1)
    bins = [_bin(number, confidence_N[bin_N == number], right_N[bin_N == number]) for number in range(BINS)]
    distances = [one["n"] * abs(one["accuracy"] - one["confidence"]) for one in bins if one["n"]]
    return {"ece": sum(distances) / len(labels_N), "calibration": bins}


def _bin(number: int, confidence_B: FloatArray, right_B: Any) -> dict[str, Any]:
    """Return a bin of the reliability diagram."""
    images = len(right_B)
    return {
        "above": number / BINS,
        "up_to": (number + 1) / BINS,
        "n": images,
        "accuracy": float(right_B.mean()) if images else None,
        "confidence": float(confidence_B.mean()) if images else None,
    }
