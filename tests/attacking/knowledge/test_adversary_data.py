"""The adversary's auxiliary knowledge and data."""

import pytest
import torch
from fast_attacks import LeastSquares

from dtfl_private.attacking.knowledge import adversary_data as auxiliary
from dtfl_private.attacking.knowledge.adversary_data import Knowledge
from dtfl_private.attacking.victims.replay import open_run
from dtfl_private.data.dataset import ImageDataset
from dtfl_private.errors import InputError
from dtfl_private.experiments.setup.run_objects import RunObjects


def test_auxiliary_knowledge_is_limited_to_what_is_said(trained, mount):
    with pytest.raises(InputError, match=r"auxiliary-data.*--aux architecture"):
        mount(trained(), [LeastSquares()], aux="architecture")
    with pytest.raises(InputError, match="shape"):
        mount(trained(), [LeastSquares()], aux="shifted:digits:size=16")
    with pytest.raises(InputError, match="has 10 classes, object:ImageDataset 3"):
        mount(trained(), [LeastSquares()], aux="shifted:digits:size=8")


@pytest.mark.parametrize("text", ["", "shifted", "shifted:", "same:digits", "all"])
def test_auxiliary_knowledge_is_one_of_four_kinds(text):
    with pytest.raises(InputError, match="is none of same, shifted:DATASET, architecture, none"):
        Knowledge.parse(text)


def test_auxiliary_data_that_overlap_with_the_clients_lose_what_overlaps(trained, objects, more_patterns, monkeypatch):
    other = ImageDataset(
        name="other",
        source="made up",
        classes=more_patterns.classes,
        train_images=torch.cat([more_patterns.train_images, 255 - more_patterns.train_images]),
        train_labels=torch.cat([more_patterns.train_labels, more_patterns.train_labels]),
        test_images=more_patterns.test_images,
        test_labels=more_patterns.test_labels,
    )
    monkeypatch.setattr(auxiliary, "load_dataset", lambda *_, **__: other)
    split = auxiliary.split_auxiliary(
        open_run(trained(), objects=RunObjects(**objects)), Knowledge.parse("shifted:other"), 1000
    )
    held = {image.tobytes() for image in more_patterns.train_images.numpy()}
    assert split.auxiliary is not None
    mine = torch.cat([split.auxiliary.images, split.auxiliary.validation_images])
    assert len(mine) == len(more_patterns.train_images)
    assert not any(image.tobytes() in held for image in (mine * 255).round().to(torch.uint8).numpy())
