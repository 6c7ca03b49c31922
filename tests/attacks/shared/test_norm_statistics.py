"""Running statistics of a real client against what is read from them: torch's own training is the oracle."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dtfl_private.attacking.evidence import LocalSteps
from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacks.shared.norm_statistics import NormStatistics, averaged, running_after
from dtfl_private.attacks.shared.simulated_client import simulated_update
from dtfl_private.attacks.shared.update_target import UpdateTarget
from dtfl_private.models.cutting.staged import StagedModel, snapshot
from dtfl_private.numerics import Numerics
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.messages import ModelDownload, WeightUpdate
from dtfl_private.randomness import isolated, torch_stream

ABOUT = {"client": 0, "round": 1, "tier": 1}
MOMENTUM = 0.3


@pytest.fixture
def trained():
    """Let a network take a step of SGD on each of some batches; return its program, batches, update and steps."""

    def make(batches: int, norm: nn.Module):
        with isolated(0, "network"):
            half = StagedModel([("md1", nn.Sequential(nn.Conv2d(1, 4, 3), norm, nn.ReLU()))])
            head = nn.Sequential(nn.Flatten(), nn.Linear(144, 3))
            images = torch.rand(batches, 5, 1, 8, 8)
        labels = torch.arange(5 * batches).reshape(batches, 5) % 3
        download = ModelDownload(**ABOUT, weights=snapshot(half), head=snapshot(head))
        program = ClientProgram(
            modules=copy.deepcopy(half),
            head=copy.deepcopy(head),
            download=download,
            preprocessor=lambda values: values / 255,  # type: ignore[arg-type] # a plain function will do
            defense=DefenseChain(),
            numerics=Numerics(),
            training=True,
            seed=0,
            records=5 * batches,
            classes=3,
        )
        optimizer = torch.optim.SGD([*half.parameters(), *head.parameters()], lr=0.1)
        for own, kinds in zip(images, labels, strict=True):
            optimizer.zero_grad()
            F.cross_entropy(head(half(own)), kinds).backward()
            optimizer.step()
        update = WeightUpdate(**ABOUT, examples=5 * batches, weights=snapshot(half), head=snapshot(head))
        steps = LocalSteps(optimizer="sgd", lr=0.1, batch_size=5)
        counts = torch.bincount(labels.flatten(), minlength=3)
        target = UpdateTarget.of_whole(program, update, steps, counts, torch_stream(0, "deal"))
        target = UpdateTarget(**{**vars(target), "labels": tuple(labels)})
        return program, images, target, update

    return make


@pytest.mark.parametrize("batches", [1, 3])
def test_the_true_images_explain_the_statistics_and_no_others_do(batches, trained):
    program, images, target, _ = trained(batches, nn.BatchNorm2d(4, momentum=MOMENTUM))
    assert target.statistics
    true = target.retraced(program, list(images)).moments
    assert target.statistics.apart(true).item() < 1e-8
    other = target.retraced(program, list(images.square())).moments
    assert target.statistics.apart(other).item() > 1e-2


def test_of_one_step_the_moments_are_the_batchs_own(trained):
    program, images, target, _ = trained(1, nn.BatchNorm2d(4, momentum=MOMENTUM))
    ((mean, variance),) = target.statistics.averages.values()
    given = program.modules.get_submodule("md1.0")(images[0])
    torch.testing.assert_close(mean, given.mean(dim=(0, 2, 3)), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(variance, given.var(dim=(0, 2, 3)), atol=1e-5, rtol=1e-4)


def test_a_batch_weighs_less_with_every_step_after_it():
    batches = [(torch.tensor([float(number)]), torch.tensor([10.0 * number])) for number in range(3)]
    mean, variance = averaged(batches, MOMENTUM, 3)
    # r <- 0.7 r + 0.3 s from 0 is 0.3 (0.7 + 2) after 0, 1, 2; the 0 that it began with weighs 0.343.
    assert mean.item() == pytest.approx(0.81 / (1 - 0.343))
    assert variance.item() == pytest.approx(10 * mean.item())
    longer, _ = averaged(batches, MOMENTUM, 30)
    assert longer.item() > 1.9


def test_what_a_client_sends_is_simulated_with_its_statistics(trained):
    """In one batch of all records the order of records does not matter, so that the update is the client's own."""
    program, images, target, update = trained(1, nn.BatchNorm2d(4, momentum=MOMENTUM))
    sent = simulated_update(program, target.steps, images[0], target.labels[0], torch_stream(0, "order"))
    true = program.of_update(update)
    assert {name for name in true if "num_batches" not in name} == set(sent)
    for name, tensor in sent.items():
        torch.testing.assert_close(tensor, true[name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "norm", [nn.GroupNorm(2, 4), nn.BatchNorm2d(4, track_running_stats=False), nn.BatchNorm2d(4, momentum=None)]
)
def test_other_norms_show_nothing(norm, trained):
    program, images, target, update = trained(1, norm)
    assert not target.statistics
    assert target.retraced(program, list(images)).moments == [{}]
    assert running_after(program, [{}], 1) == {}
    assert not NormStatistics.of(program, program.of_update(update), 1)
