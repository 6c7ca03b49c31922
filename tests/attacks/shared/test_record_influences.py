"""Influences against gradients of whole batches by plain torch."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dtfl_private.attacking.batch_norms import named
from dtfl_private.attacking.program import ClientProgram
from dtfl_private.attacks.shared.observed_update import ObservedUpdate
from dtfl_private.attacks.shared.record_influences import influences
from dtfl_private.attacks.shared.stretches import Stretches
from dtfl_private.models.cutting.staged import StagedModel, snapshot
from dtfl_private.numerics import Numerics
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.messages import ModelDownload
from dtfl_private.randomness import isolated, torch_stream


@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 4), nn.BatchNorm2d(4)])
def test_an_influence_is_the_difference_that_a_record_makes_to_a_batch(norm):
    """Among three others under batch norm, whose gradients it changes too; alone where records are apart."""
    with isolated(0, "network"):
        half = StagedModel([("md1", nn.Sequential(nn.Conv2d(1, 4, 3), copy.deepcopy(norm), nn.ReLU()))])
        head = nn.Sequential(nn.Flatten(), nn.Linear(144, 3))
        images = torch.rand(8, 1, 8, 8)
    labels, coupled = torch.arange(8) % 3, isinstance(norm, nn.BatchNorm2d)
    program = ClientProgram(
        modules=copy.deepcopy(half),
        head=copy.deepcopy(head),
        download=ModelDownload(client=0, round=1, tier=1, weights=snapshot(half), head=snapshot(head)),
        preprocessor=lambda values: values / 255,  # type: ignore[arg-type] # a plain function will do
        defense=DefenseChain(),
        numerics=Numerics(),
        training=True,
        seed=0,
        records=8,
        classes=3,
    )
    sent = {**program.parameters(), **named(program.norms.running)}
    observed = ObservedUpdate.of(program, sent, 1, torch_stream(0, "weights"))
    context = (images[5:], labels[5:])
    found = influences(observed, program.parameters(), images[:5], labels[:5], context)
    weights = sum(tensor.numel() for tensor in program.parameters().values())
    assert found.shape == (5, weights + (8 if coupled else 0))
    whole = nn.Sequential(half, head)
    gradients, moments = [], []
    for record in range(5):
        batch = [record, 5, 6, 7] if coupled else [record]
        loss = F.cross_entropy(whole(images[batch]), labels[batch])
        slopes = torch.autograd.grad(loss, list(whole.parameters()))
        gradients.append(len(batch) * torch.cat([slope.flatten() for slope in slopes]))
        maps = half[0][0](images[batch])
        variance, mean = torch.var_mean(maps, dim=(0, 2, 3))
        moments.append(len(batch) * torch.cat([mean, variance + mean.square()]).detach())
    differences = torch.stack(gradients)
    torch.testing.assert_close(found[:, :weights], differences - differences.mean(dim=0), atol=1e-5, rtol=1e-4)
    if coupled:
        measured = torch.stack(moments)
        torch.testing.assert_close(found[:, weights:], measured - measured.mean(dim=0), atol=1e-5, rtol=1e-4)


def test_stretches_take_all_steps_in_their_order():
    assert Stretches.of(3, 6).of_step == [0, 1, 2]
    assert Stretches.of(7, 3).of_step == [0, 0, 0, 1, 1, 2, 2]
    assert Stretches.of(5, 1).count == 1
    batches = [torch.tensor([0, 1]), torch.tensor([2]), torch.tensor([0, 1]), torch.tensor([2])]
    shares = Stretches.of(4, 2).shares(batches, 4)
    assert shares.tolist() == [[0.5, 0.5, 1.0, 0.0], [0.5, 0.5, 1.0, 0.0]]
