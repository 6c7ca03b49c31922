import json
import math

import numpy as np
import pytest
from sklearn import metrics

from dtfl_private.experiments.judging.class_figures import BINS, calibration, class_figures, softmax

CLASSES = ("a", "b", "never there", "d", "never said")


@pytest.fixture(scope="module")
def answered():
    """Answers to 300 images of classes 0, 1, 3 and 4, of which the last is never predicted."""
    rng = np.random.default_rng(5)
    labels = rng.choice([0, 1, 3, 4], 300, p=[0.5, 0.3, 0.15, 0.05])
    logits = rng.standard_normal((300, 5)) + 1.5 * np.eye(5)[labels]
    logits[:, 4] -= 10
    return logits, labels


@pytest.fixture(scope="module")
def figures(answered):
    return class_figures(*answered, CLASSES)


def test_counts_by_class_are_those_of_a_plain_count(answered, figures):
    logits, labels = answered
    predicted = [max(range(5), key=lambda c: row[c]) for row in logits]
    for label, one in enumerate(figures["per_class"]):
        own = [p for p, y in zip(predicted, labels, strict=True) if y == label]
        said = [y for p, y in zip(predicted, labels, strict=True) if p == label]
        assert (one["class"], one["support"], one["predicted"]) == (CLASSES[label], len(own), len(said))
        assert figures["confusion"][label] == [own.count(other) for other in range(5)]
        if not own:
            assert (one["precision"], one["recall"], one["f1"], one["roc_auc"]) == (None,) * 4
            continue
        recall = own.count(label) / len(own)
        precision = said.count(label) / len(said) if said else 0.0
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        assert (one["recall"], one["precision"], one["f1"]) == pytest.approx((recall, precision, f1), rel=1e-12)


def test_figures_are_those_of_scikit_learn(answered, figures):
    logits, labels = answered
    predicted, shares, there = logits.argmax(axis=1), softmax(logits), [0, 1, 3, 4]
    expected = metrics.precision_recall_fscore_support(labels, predicted, labels=there, zero_division=0)
    for place, label in enumerate(there):
        own = figures["per_class"][label]
        assert (own["precision"], own["recall"], own["f1"], own["support"]) == pytest.approx(
            tuple(column[place] for column in expected), rel=1e-12
        )
        assert own["roc_auc"] == metrics.roc_auc_score(labels == label, shares[:, label])
    macro = {"labels": there, "average": "macro", "zero_division": 0}
    assert figures["accuracy"] == metrics.accuracy_score(labels, predicted)
    assert figures["macro_f1"] == pytest.approx(metrics.f1_score(labels, predicted, **macro), rel=1e-12)
    assert figures["macro_precision"] == pytest.approx(metrics.precision_score(labels, predicted, **macro), rel=1e-12)
    assert figures["balanced_accuracy"] == pytest.approx(metrics.recall_score(labels, predicted, **macro), rel=1e-12)
    assert figures["nll"] == pytest.approx(metrics.log_loss(labels, shares, labels=range(5)), rel=1e-12)


def test_the_brier_score_is_the_mean_squared_distance_to_the_truth():
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]]))
    found = class_figures(logits, np.array([0, 2]), ("a", "b", "c"))
    assert found["brier"] == pytest.approx((0.3**2 + 0.2**2 + 0.1**2 + 0.1**2 + 0.6**2 + 0.7**2) / 2, rel=1e-12)


def test_the_calibration_error_by_hand():
    """Bins of 1/15: 0.7, 0.72 and 0.73 share the bin above 10/15; 0.95 is in the last, which 14/15 is below."""
    confidence = [0.7, 0.72, 0.73, 0.95, 0.95]
    right = [True, False, True, True, False]
    shares = np.array([[c, 1 - c] for c in confidence])
    found = calibration(shares, np.array([0 if ok else 1 for ok in right]))
    first, last = abs(2 / 3 - (0.7 + 0.72 + 0.73) / 3), abs(1 / 2 - 0.95)
    assert found["ece"] == pytest.approx(3 / 5 * first + 2 / 5 * last, rel=1e-12)
    assert [one["n"] for one in found["calibration"]] == [0] * 10 + [3, 0, 0, 0, 2]
    assert found["calibration"][0]["accuracy"] is None
    assert found["calibration"][10]["accuracy"] == pytest.approx(2 / 3)


def test_a_network_that_is_right_and_sure_has_no_error_and_bounds_belong_to_the_bin_below():
    sure = class_figures(np.array([[800.0, 0.0], [0.0, 800.0]]), np.array([0, 1]), ("a", "b"))
    assert (sure["ece"], sure["brier"], sure["nll"], sure["accuracy"]) == (0, 0, 0, 1)
    assert sure["calibration"][-1]["n"] == 2
    bound = calibration(np.array([[9 / 15, 6 / 15]]), np.array([0]))
    assert [one["n"] for one in bound["calibration"]].index(1) == 9 - 1
    assert len(bound["calibration"]) == BINS


def test_a_wrong_answer_however_sure_leaves_finite_figures():
    found = class_figures(np.array([[1e4, 0.0, -1e4]]), np.array([2]), ("a", "b", "c"))
    assert found["nll"] == 2e4
    text = json.dumps(found, allow_nan=False)
    assert "NaN" not in text
    assert found["macro_roc_auc"] is None
    assert math.isclose(found["brier"], 2.0)
