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


@pytest.mark.parametrize(
    "text",
    ["", "shifted", "shifted:", "same:digits", "all", "client", "client:x", "client:-1", "client:²", "mixture:1"],
)
def test_auxiliary_knowledge_is_one_of_six_kinds(text):
    with pytest.raises(InputError, match="is none of same, mixture, client:K, shifted:DATASET, architecture, none"):
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


def test_a_mixture_has_the_shares_of_the_attacked_clients_classes(opened):
    run = opened(partition="dirichlet:alpha=0.3,floor=6")
    worker = run.prepared.worker
    for client in range(3):
        held = torch.bincount(worker.train_labels[torch.as_tensor(worker.parts[client])], minlength=3)
        split = auxiliary.split_auxiliary(run, Knowledge.parse("mixture"), 24, clients=[client])
        assert split.auxiliary is not None
        labels = torch.cat([split.auxiliary.labels, split.auxiliary.validation_labels])
        counts = torch.bincount(labels, minlength=3)
        assert (counts - held * len(labels) / held.sum()).abs().max() <= 1
        assert len(labels) == 24
        # Test images, none of them a non-member, and the judge has all classes.
        places = torch.cat([split.train_records, split.validation_records]) - len(worker.train_labels)
        assert (worker.test_labels[places] == labels).all()
        assert not set(places.tolist()) & set(split.non_member_places.tolist())
        assert len(torch.unique(split.judging.labels)) == 3
    whole = auxiliary.split_auxiliary(run, Knowledge.parse("mixture"), 10_000, clients=[0])
    assert whole.auxiliary is not None
    assert 24 < len(whole.auxiliary.labels) < 90  # as many as the scarcest class has


def test_another_client_s_images_are_that_client_s(opened):
    run = opened()
    worker = run.prepared.worker
    split = auxiliary.split_auxiliary(run, Knowledge.parse("client:1"), 1000)
    records = torch.cat([split.train_records, split.validation_records])
    assert sorted(records.tolist()) == sorted(worker.parts[1].tolist())
    assert split.auxiliary is not None
    assert torch.equal((split.auxiliary.images * 255).round().to(torch.uint8), worker.train_images[split.train_records])
    with pytest.raises(InputError, match="client:7 names no client: there are 0 to 2"):
        auxiliary.split_auxiliary(run, Knowledge.parse("client:7"), 1000)


def test_only_named_clients_are_attacked_and_never_the_one_whose_images_the_adversary_has(trained, opened, mount):
    run, parts = trained(), opened().prepared.worker.parts
    own = mount(run, [LeastSquares()], tiers=[2], clients=[2], victims=1000)
    assert set(own.verdicts[0].scored.records.tolist()) <= set(parts[2].tolist())
    assert own.results[-1].settings["clients"] == "2"
    others = mount(run, [LeastSquares()], tiers=[2], aux="client:1", victims=1000)
    records = set(others.verdicts[0].scored.records.tolist())
    assert not records & set(parts[1].tolist())
    assert records & set(parts[0].tolist())
    assert records & set(parts[2].tolist())
    for clients, aux, why in (
        ([9], "same", "client 9 took no part in the attacked round: it was of 0, 1, 2"),
        ([1], "client:1", "--aux client:1 has the images of client 1, so it cannot be attacked"),
    ):
        with pytest.raises(InputError, match=why):
            mount(run, [LeastSquares()], tiers=[2], clients=clients, aux=aux)
    tier = opened().tasks[0].tier
    elsewhere = next(task for task in opened().tasks if task.client == 0)
    with pytest.raises(InputError, match="client 0 was not in tier"):
        mount(run, [LeastSquares()], tiers=[tier % 3 + 1], clients=[elsewhere.client], as_scheduled=True)
