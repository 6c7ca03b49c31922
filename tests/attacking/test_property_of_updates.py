"""Properties of the records of clients that train the whole network, from training to scores."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from attack_reports import of
from torch import nn

from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.runner import attack
from dtfl_private.attacks.update_attributes import UpdateAttributes, with_property
from dtfl_private.data.digits import load_digits
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.train import train
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.randomness import isolated, torch_stream

FEW = AttackConfig(seeds=1, aux_images=500, threads=1)


@dataclass(frozen=True, kw_only=True)
class OfTheClass(UpdateAttributes):
    """Whether the class is below 5: as good as counted labels."""

    def values(self, images, labels, auxiliary):
        return (labels < 5).long()


@dataclass(frozen=True, kw_only=True)
class OfNothing(UpdateAttributes):
    """A coin toss for each image, made of its last digits."""

    def values(self, images, labels, auxiliary):
        return (images.double().flatten(1) @ (1e5 * torch.arange(images[0].numel()).double().sin()).abs()).long() % 2


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Let clients of four digits each take a step of SGD under batch norm; return what each attack's results are."""
    with isolated(0, "network"):
        first = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Sigmoid())
        model = StagedModel([("md1", first), ("md2", nn.Sequential(nn.Flatten(), nn.Linear(512, 10)))])
    settings = {"method": "fedavg", "clients": 40, "max_train_images": 160, "rounds": 1, "batch_size": 8}
    config = TrainConfig(**settings, optimizer="sgd", lr=0.05, device="cpu", workers=1)
    data = load_digits(size=8)
    run = train(config, out=tmp_path_factory.mktemp("properties") / "run", dataset=data, model=model)

    def mounted(victims, *kinds):
        config = FEW.model_copy(update={"victims": victims})
        return attack(run, config, attacks=[kind(effort=0.1) for kind in kinds], dataset=data, model=model).results

    return SimpleNamespace(results=[*mounted(100, UpdateAttributes), *mounted(24, OfTheClass, OfNothing)])


def test_how_many_are_bright_shows_in_the_update(results):
    """By chance alone the p-value is below 0.001 in one of 1000 cases."""
    found = of(results, "accuracy", source="update-attributes")
    assert (found.baseline_name, found.n) == ("label-prior", 100)
    assert found.value > found.baseline
    assert found.p_value < 0.001


def test_a_property_that_is_the_class_is_counted_and_one_of_nothing_is_not_found(results):
    """By chance alone the p-value is below 0.001 in one of 1000 cases."""
    assert of(results, "accuracy", source="of-the-class").value > 0.97
    nothing = of(results, "accuracy", source="of-nothing")
    assert nothing.p_value > 0.001
    assert nothing.value < nothing.baseline + 0.05


def test_records_are_drawn_of_the_labels_with_any_share_of_the_property():
    known, values = torch.arange(60) % 3, torch.arange(60) // 3 % 2
    values[known == 2] = 0  # no record of the last class has it
    labels, chance = torch.tensor([0, 1, 1, 2] * 20), torch_stream(0, "drawn")
    drawn = [with_property(known, values, labels, chance) for _ in range(40)]
    assert all(torch.equal(known[places], labels) for places in drawn)
    shares = torch.stack([values[places][labels != 2].double().mean() for places in drawn])
    assert shares.min() < 0.2
    assert shares.max() > 0.8
    absent = with_property(known, values, torch.tensor([7]), chance)
    assert 0 <= int(absent) < 60


def test_clients_that_send_smashed_data_are_attacked_record_by_record(trained, mount):
    with pytest.raises(InputError, match="use --attack attribute-inference"):
        mount(trained(), [UpdateAttributes()])
