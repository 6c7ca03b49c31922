import math

import numpy as np
import pytest
import torch

from dtfl_private.data.dataset import ImageDataset
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.partition import Distribution, dealt, partition


def config(**values: object) -> TrainConfig:
    return TrainConfig.model_validate({"dataset": "digits:size=8", "clients": 6, **values})


def owned(ids: list[int] | None) -> ImageDataset:
    images = torch.zeros(8, 1, 4, 4, dtype=torch.uint8)
    labels = torch.arange(8) % 2
    return ImageDataset(
        name="owned",
        source="made up",
        classes=("a", "b"),
        train_images=images,
        train_labels=labels,
        test_images=images,
        test_labels=labels,
        client_ids=None if ids is None else torch.tensor(ids),
    )


@pytest.mark.parametrize("text", ["iid", "dirichlet:0.3", "quantity", "shards"])
def test_the_counts_are_those_of_the_parts_that_a_run_would_deal_out(text):
    settings = config(partition=text, max_train_images=300, seed=4)
    whole = dealt(settings)
    dataset, parts = whole.dataset, whole.parts
    spread = partition(settings)
    assert len(dataset.train_labels) == 300
    assert spread.counts_KC.shape == (6, 10)
    for client, part in enumerate(parts):
        for label in range(10):
            assert spread.counts_KC[client, label] == int((dataset.train_labels[part] == label).sum())
    assert spread.classes == dataset.classes


def test_a_given_data_set_is_used_with_its_own_client_ids():
    spread = partition(config(partition="natural", clients=3), owned([5, 5, 5, 1, 1, 9, 9, 9]))
    assert spread.sizes_K.tolist() == [2, 3, 3]
    with pytest.raises(InputError, match="natural needs a data set that says whose each image is"):
        partition(config(partition="natural", clients=3), owned(None))


def test_figures_of_known_distributions():
    spread = Distribution(classes=("a", "b", "c", "d"), counts_KC=np.array([[8, 0, 0, 0], [2, 2, 2, 2], [0, 6, 6, 6]]))
    assert spread.sizes_K.tolist() == [8, 8, 18]
    np.testing.assert_allclose(spread.effective_classes_K, [1, 4, 3], rtol=1e-12)
    whole = np.array([10, 8, 8, 8]) / 34
    expected = [1 - whole[0], 0.5 * np.abs(0.25 - whole).sum(), whole[0]]
    np.testing.assert_allclose(spread.distance_K, expected, rtol=1e-12)


def test_effective_classes_of_two_unlike_shares():
    spread = Distribution(classes=("a", "b"), counts_KC=np.array([[3, 1]]))
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    np.testing.assert_allclose(spread.effective_classes_K, [math.exp(entropy)], rtol=1e-12)
    assert spread.distance_K.tolist() == [0.0]
