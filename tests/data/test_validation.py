from dataclasses import replace

import numpy as np
import pytest
import torch

from dtfl_private.data.dataset import ImageDataset
from dtfl_private.data.partition import deal_out
from dtfl_private.data.validation import held_back
from dtfl_private.errors import InputError


@pytest.fixture(scope="module")
def numbered() -> ImageDataset:
    """120 images of three classes, half of them of the first, whose one pixel is their number."""
    return ImageDataset(
        name="numbered",
        source="made up",
        classes=("a", "b", "c"),
        train_images=torch.arange(120, dtype=torch.uint8).reshape(120, 1, 1, 1),
        train_labels=torch.tensor([0, 1, 0, 2] * 30),
        test_images=torch.zeros((1, 1, 1, 1), dtype=torch.uint8),
        test_labels=torch.zeros(1, dtype=torch.int64),
        client_ids=torch.arange(120) // 7,
    )


def numbers(images: torch.Tensor) -> list[int]:
    return images.flatten().tolist()


@pytest.mark.parametrize("partition", ["iid", "dirichlet:0.3", "quantity:1.5"])
@pytest.mark.parametrize("share", [0.1, 0.25, 0.9])
def test_what_clients_keep_back_is_theirs_and_nobody_trains_on_it(numbered, partition, share):
    parts = deal_out(partition, numbered.train_labels.numpy(), 5, np.random.default_rng(3))
    training, own, validation = held_back(numbered, parts, share, 1)
    everything = [*numbers(training.train_images), *numbers(validation.images)]
    assert sorted(everything) == list(range(120))
    for client, part in enumerate(parts):
        start, stop = validation.owned.get(client, (0, 0))
        kept = numbers(training.train_images[torch.from_numpy(own[client])])
        assert sorted([*kept, *numbers(validation.images[start:stop])]) == part.tolist()
        assert stop - start == min(round(share * len(part)), len(part) - 1)
    for images, labels in ((training.train_images, training.train_labels), (validation.images, validation.labels)):
        assert [(0, 1, 0, 2)[number % 4] for number in numbers(images)] == labels.tolist()
    assert [number // 7 for number in numbers(training.train_images)] == training.client_ids.tolist()


def test_each_class_is_kept_back_in_its_proportion(numbered):
    (part,) = [np.arange(120)]
    _, _, validation = held_back(numbered, [part], 0.2, 0)
    assert np.bincount(validation.labels.numpy()).tolist() == [12, 6, 6]


def test_another_seed_keeps_back_others(numbered):
    first, same, other = (numbers(held_back(numbered, [np.arange(120)], 0.2, seed)[2].images) for seed in (0, 0, 1))
    assert first == same
    assert first != other


def test_shares_of_less_than_an_image_are_refused_where_nobody_has_more(numbered):
    small = replace(
        numbered, train_images=numbered.train_images[:8], train_labels=numbered.train_labels[:8], client_ids=None
    )
    with pytest.raises(InputError, match=r"validation 0\.1 of what each client has, 4 images at most, is none"):
        held_back(small, [np.arange(4), np.arange(4, 8)], 0.1, 0)
    _, own, validation = held_back(small, [np.arange(6), np.arange(6, 8)], 0.1, 0)
    assert validation.owned == {0: (0, 1)}
    assert [len(part) for part in own] == [5, 2]
