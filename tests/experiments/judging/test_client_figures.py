import numpy as np
import pytest

from dtfl_private.experiments.judging.client_figures import by_class_shares, of_own_images


def test_accuracies_on_own_images_and_their_spread():
    right = np.array([1, 1, 0, 1, 0, 0, 0, 1, 1, 1], dtype=bool)
    judged = np.array([1, 1, 1, 1, 1, 1, 0, 1, 1, 1], dtype=bool)
    found = of_own_images(right, judged, {0: (0, 4), 2: (4, 7), 3: (7, 10)}, 4)
    assert found["accuracy"] == {"0": 0.75, "1": None, "2": 0.0, "3": 1.0}
    assert found["images"] == {"0": 4, "1": 0, "2": 2, "3": 3}
    values = [0.75, 0.0, 1.0]
    assert (found["worst"], found["worst_client"], found["n"]) == (0.0, 2, 3)
    assert found["std"] == pytest.approx(np.std(values))
    assert found["mean"] == pytest.approx(np.mean(values))
    assert found["tenth_percentile"] == pytest.approx(0.15)


def test_accuracies_by_class_shares_are_those_of_images_drawn_so():
    """The accuracy on a test set with each class as often as the client has it."""
    per_class = [{"recall": 0.5, "support": 4}, {"recall": None, "support": 0}, {"recall": 1.0, "support": 2}]
    found = by_class_shares(per_class, np.array([[10, 0, 30], [5, 5, 0], [0, 7, 0], [0, 0, 2]]))
    assert found["accuracy"] == {"0": (10 * 0.5 + 30 * 1.0) / 40, "1": 0.5, "2": None, "3": 1.0}
    assert found["images"] == {"0": 6, "1": 4, "2": 0, "3": 2}
    assert (found["worst_client"], found["n"]) == (1, 3)


def test_without_any_accuracy_nothing_is_said_of_the_worst():
    found = of_own_images(np.array([True]), np.array([False]), {0: (0, 1)}, 1)
    assert (found["n"], found["worst"], found["worst_client"], found["std"]) == (0, None, None, None)
