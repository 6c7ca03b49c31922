import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from dtfl_private.data.class_weights import balanced_weights, register_classes

COUNTS = np.array([[5, 0, 1, 0], [0, 40, 2, 0]])


def test_balanced_weights_are_those_of_scikit_learn():
    labels = np.repeat([0, 1, 2], [5, 40, 3])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    weights = balanced_weights(torch.tensor([5, 40, 3]))
    np.testing.assert_allclose(weights.numpy(), expected, rtol=1e-15)
    assert float(weights[labels].mean()) == pytest.approx(1, rel=1e-15)


def test_a_class_without_images_does_not_change_the_others_weights():
    assert balanced_weights(torch.tensor([5, 40, 0, 3]))[[0, 1, 3]].equal(balanced_weights(torch.tensor([5, 40, 3])))
    assert balanced_weights(torch.tensor([7, 7, 7])).tolist() == [1, 1, 1]


def test_each_client_sends_its_counts_and_gets_the_weights_of_all():
    said = register_classes(COUNTS, central=False)
    assert [message.counts.tolist() for message in said.counts] == COUNTS.tolist()
    assert all(answer.weights.equal(balanced_weights(torch.tensor([5, 40, 3, 0]))) for answer in said.answers)
    assert said.traffic == {"up_statistics": 2 * 4 * 8, "down_statistics": 2 * 4 * 8}


def test_of_images_at_one_place_nothing_is_sent():
    said = register_classes(COUNTS[:1], central=True)
    assert (said.counts, said.answers) == ((), ())
    assert said.weights.equal(balanced_weights(torch.tensor([5, 0, 1, 0])))
    assert set(said.traffic.values()) == {0}
