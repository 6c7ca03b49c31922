"""Batch norm's statistics measured for given weights, and pooled over clients."""

import copy

import pytest
import torch
from torch import nn

from dtfl_private.models.build import build_model
from dtfl_private.models.statistics import PooledStatistics, measure_statistics, statistics_bytes, statistics_of
from dtfl_private.numerics import Numerics

FP64 = Numerics(precision="fp64")


@pytest.fixture
def batches() -> list[torch.Tensor]:
    """Return batches of 5, 5 and 2 images whose means differ a lot."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(12, 1, 8, 8, generator=generator, dtype=torch.float64)
    return [part + 10 * number for number, part in enumerate(images.split(5))]


@pytest.fixture
def network(tiny_network) -> nn.Sequential:
    return tiny_network().double()


def moments(values_BCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return values_BCHW.mean(dim=(0, 2, 3)), values_BCHW.var(dim=(0, 2, 3), correction=0)


def test_each_layer_normalises_its_batches_and_is_described_over_all_of_them(network, batches):
    """By hand, layer by layer; the variance between batches is part of the variance."""
    stem, body = network.stem, network.body
    with torch.no_grad():
        first = [stem[0](x) for x in batches]
        normalised = []
        for values in first:
            mean, variance = (m[None, :, None, None] for m in moments(values))
            scaled = (values - mean) / (variance + stem[1].eps).sqrt()
            normalised.append(scaled * stem[1].weight[None, :, None, None] + stem[1].bias[None, :, None, None])
        second = [body[0](values.relu()) for values in normalised]
    found = measure_statistics(copy.deepcopy(network), batches, FP64)
    for name, values in (("stem.1", torch.cat(first)), ("body.1", torch.cat(second))):
        mean, variance = moments(values)
        torch.testing.assert_close(found[f"{name}.running_mean"], mean, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(found[f"{name}.running_var"], variance, rtol=1e-9, atol=1e-12)
    within = torch.stack([moments(values)[1] for values in first]).mean(dim=0)
    assert (found["stem.1.running_var"] > 1.1 * within).all()


def test_parameters_stay_and_nothing_is_left_to_chance(network, batches):
    network.body.append(nn.Dropout(0.9))
    network.late[2].p = 0.9
    network.late.insert(0, nn.BatchNorm2d(8))
    network.double()
    before = copy.deepcopy(network.state_dict())
    found = [measure_statistics(network, batches, FP64) for _ in range(2)]
    assert all(torch.equal(found[1][name], tensor) for name, tensor in found[0].items())
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter, before[name])
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_pooled_over_unequal_clients_it_is_the_statistic_of_all_records(batches):
    """One layer, so that what it is given does not depend on whose batch it is in."""
    layer = nn.Sequential(nn.BatchNorm2d(1)).double()
    pooled = PooledStatistics()
    for batch in batches:
        pooled.add(measure_statistics(layer, [batch], FP64), len(batch))
    found = pooled.result(layer.state_dict())
    mean, variance = moments(torch.cat(batches))
    torch.testing.assert_close(found["0.running_mean"], mean, rtol=1e-9, atol=0)
    torch.testing.assert_close(found["0.running_var"], variance, rtol=1e-9, atol=0)
    assert torch.equal(found["0.weight"], layer[0].weight)
    assert PooledStatistics().result(before := layer.state_dict()) is before


def test_a_layer_in_two_places_has_one_statistic_and_one_without_use_keeps_its_own(batches):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2d(1)
            self.again = self.norm
            self.idle = nn.BatchNorm2d(1)

        def forward(self, x):
            return self.again(self.norm(x) + 3)

    model = Twice().double()
    model.idle.running_mean.fill_(7)
    found = measure_statistics(model, batches, FP64)
    assert found["idle.running_mean"] == 7
    assert torch.equal(found["norm.running_var"], found["again.running_var"])
    # Half of what the layer saw are the inputs, the other half is around 3.
    assert float(found["norm.running_mean"]) == pytest.approx((float(torch.cat(batches).mean()) + 3) / 2)


@pytest.mark.parametrize(("norm", "layers"), [("batch", True), ("group", False)])
def test_only_batch_norm_has_running_statistics(norm, layers):
    model = build_model("resnet-8", input_shape=(1, 8, 8), classes=10, norm=norm, seed=0)
    names = {name for name in model.state_dict() if name.endswith(("running_mean", "running_var"))}
    assert statistics_of(model).keys() == names
    assert bool(names) == layers
    assert statistics_bytes(model) == sum(4 * model.state_dict()[name].numel() for name in names)
    without = nn.BatchNorm2d(3, track_running_stats=False)
    assert measure_statistics(without, [torch.randn(2, 3, 4, 4)], Numerics()) == {}
