"""A client's own images in a run: its classes by their names, its part of a simulation."""

import pytest
import torch

from dtfl_private.data.dataset import ImageDataset
from dtfl_private.deployed.client.own_data import (
    held_by_client,
    in_classes_of,
    own_images,
    part_of,
    registration_of,
    sums_of,
)
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import make_config
from dtfl_private.experiments.partition import dealt

CONFIG = {"clients": 3, "max_train_images": 60, "partition": "dirichlet:1.0"}


def images_of(classes, labels):
    labels = torch.tensor(labels)
    images = torch.arange(len(labels), dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2).clone()
    return ImageDataset(
        name="own",
        source="here",
        classes=classes,
        train_images=images,
        train_labels=labels,
        test_images=images[:1],
        test_labels=labels[:1],
    )


def test_classes_are_those_of_the_run_by_their_names():
    own = in_classes_of(images_of(("dog", "ape"), [0, 1, 1]), ("ape", "cat", "dog"), (1, 2, 2))
    assert own.classes == ("ape", "cat", "dog")
    assert own.train_labels.tolist() == [2, 0, 0]
    assert own.test_labels.tolist() == [2]


def test_a_class_that_the_run_has_not_is_named():
    with pytest.raises(InputError, match="a class 'yak', which the run does not know: its classes are ape, dog"):
        in_classes_of(images_of(("dog", "yak"), [0, 1]), ("ape", "dog"), (1, 2, 2))


def test_images_of_another_size_are_refused():
    with pytest.raises(InputError, match="images are 1x2x2, those of the run 3x2x2"):
        in_classes_of(images_of(("dog",), [0]), ("dog",), (3, 2, 2))


def test_the_part_of_a_client_is_that_of_the_simulation():
    config = make_config(CONFIG, "test")
    whole = dealt(config)
    for client, part in enumerate(whole.parts):
        own = own_images(None, None, config, client)
        assert torch.equal(own.train_images, whole.dataset.train_images[torch.from_numpy(part)])
        assert torch.equal(own.train_labels, whole.dataset.train_labels[torch.from_numpy(part)])


def test_there_is_no_part_for_a_client_beyond_the_last():
    with pytest.raises(InputError, match=r"client 3 has no part: the configuration has clients 0\.\.2"):
        part_of(make_config(CONFIG, "test"), 3)


def test_sums_are_of_all_pixels_of_the_client():
    sums = sums_of(images_of(("dog",), [0, 0, 0]), 5)
    assert (sums.client, sums.pixels, sums.sums.tolist(), sums.squares.tolist()) == (5, 12, [12], [20])


def test_a_client_holds_its_own_images_and_knows_of_no_others():
    config = make_config({**CONFIG, "normalization": "constants:mean=0.5,std=0.5"}, "test")
    own = part_of(config, 1)
    held = held_by_client(own, 1, 3, registration_of(config, own, (), None))
    assert [len(part) for part in held.parts] == [0, len(own.train_labels), 0]
    assert held.images_K.tolist() == [len(own.train_labels)] * 3
