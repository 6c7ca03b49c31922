import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dtfl_private.errors import InputError
from dtfl_private.models.build import build_model
from dtfl_private.models.cutting.staged import StagedModel, numbered, snapshot, split
from dtfl_private.models.heads import make_heads
from dtfl_private.numerics import Numerics
from dtfl_private.protocol.messages import state_bytes
from dtfl_private.simulation.costs.analysis import analyse
from tests.simulation.costs.hand_made import hand_made

# MACs of one 6x6 image: outputs times the weights each of them takes.
CONV_1 = (3 * 6 * 6) * (2 * 3 * 3)


CONV_2 = (4 * 3 * 3) * (3 * 3 * 3)


FULL = 5 * 4


HEAD_1, HEAD_2 = 5 * 3, 5 * 4


def test_forward_macs_are_the_closed_form(table):
    assert table.forward_macs == CONV_1 + CONV_2 + FULL
    assert [row.client_forward_macs for row in table.rows] == [CONV_1, CONV_1 + CONV_2]


def test_training_macs_are_forward_and_the_gradients_that_are_needed(table):
    # Each layer's weight gradient costs as much as its forward pass, and so does its input gradient, which the first
    # layer of a half does not need.
    first, second = table.rows
    assert first.client_train_macs == 2 * CONV_1 + 3 * HEAD_1
    assert first.server_train_macs == 2 * CONV_2 + 3 * FULL
    assert second.client_train_macs == 2 * CONV_1 + 3 * CONV_2 + 3 * HEAD_2
    assert second.server_train_macs == 2 * FULL


def plain_train_macs(module: nn.Module, shape: tuple[int, ...]) -> int:
    counter = FlopCounterMode(display=False)
    with counter:
        module(torch.zeros(2, *shape)).sum().backward()
    return counter.get_total_flops() // 2 // 2


def with_stages_that_do_not_learn() -> StagedModel:
    frozen = nn.Conv2d(4, 4, 1).requires_grad_(False)
    learning = [nn.Conv2d(1, 4, 3), nn.Conv2d(4, 2, 1)]
    last = nn.Sequential(nn.Flatten(), nn.Linear(18, 3))
    return numbered([nn.Dropout(), learning[0], nn.ReLU(inplace=True), frozen, nn.MaxPool2d(2), learning[1], last])


@pytest.mark.parametrize(
    ("model", "shape", "classes", "size"),
    [
        (build_model("resnet-8", input_shape=(1, 8, 8), classes=10, norm="batch", seed=0), (1, 8, 8), 10, "large"),
        (build_model("resnet-20", input_shape=(3, 8, 8), classes=4, norm="group", seed=0), (3, 8, 8), 4, "paper"),
        *((with_stages_that_do_not_learn(), (1, 8, 8), 3, size) for size in ("small", "paper", "large")),
    ],
)
def test_training_macs_are_those_of_a_training_step_of_each_half(model, shape, classes, size):
    for row in analyse(model, shape, classes, Numerics(), size).rows:
        client, server = split(model, row.tier)
        head = make_heads({row.tier: row.cut_shape}, classes, size)[row.tier]
        assert row.head_params == sum(parameter.numel() for parameter in head.parameters())
        assert row.head_bytes == state_bytes(head.state_dict())
        assert row.client_train_macs == plain_train_macs(nn.Sequential(client, head), shape)
        assert row.server_train_macs == plain_train_macs(server, row.cut_shape)


def test_parameters_are_the_closed_form(table):
    conv_1, conv_2, full = 3 * 18 + 3, 4 * 27 + (4 + 4), 5 * 4 + 5
    assert [row.client_params for row in table.rows] == [conv_1, conv_1 + conv_2]
    assert [row.server_params for row in table.rows] == [conv_2 + full, full]
    assert [row.head_params for row in table.rows] == [5 * 3 + 5, 5 * 4 + 5]
    assert [row.cut_shape for row in table.rows] == [(3, 6, 6), (4, 3, 3)]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp64"])
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_bytes_are_those_of_the_tensors_that_are_really_sent(precision, norm):
    numerics = Numerics(precision=precision)
    model = build_model("resnet-8", input_shape=(3, 16, 16), classes=10, norm=norm, seed=0)
    table = analyse(model, (3, 16, 16), 10, numerics)
    placed = numerics.place(model).eval()
    images = numerics.place_images(torch.zeros(2, 3, 16, 16))
    for row in table.rows:
        client, _ = split(placed, row.tier)
        head = numerics.place(make_heads({row.tier: row.cut_shape}, 10)[row.tier])
        with torch.no_grad(), numerics.autocast():
            smashed = client(images).to(numerics.wire_dtype)
        assert row.smashed_bytes == smashed[0].nbytes
        assert row.label_bytes == torch.zeros(1, dtype=torch.int64).nbytes
        assert row.weight_bytes == state_bytes(client.state_dict()) + state_bytes(head.state_dict())


def test_the_paper_s_resnet_56_costs_what_the_paper_says():
    model = build_model("resnet-56", input_shape=(3, 32, 32), classes=10, norm="batch", seed=0)
    table = analyse(model, (3, 32, 32), 10, Numerics())
    assert table.column("client_params").tolist() == [464, 14480, 28112, 87888, 141264, 377552, 588752]
    assert [100 * row.smashed_bytes / 2**20 for row in table.rows] == [6.25, 25.0, 25.0, 12.5, 12.5, 6.25, 6.25]
    assert [round(row.client_forward_macs / 1e6, 1) for row in table.rows] == [0.4, 14.1, 27.4, 44.0, 57.3, 73.8, 87.2]
    shares = table.column("client_forward_macs") / table.forward_macs
    assert [f"{share:.1%}" for share in shares[:1]] == ["0.5%"]
    assert [f"{share:.0%}" for share in shares[1:]] == ["16%", "31%", "50%", "66%", "85%", "100%"]


def test_costs_are_per_image_and_ascend_with_the_tier(table):
    assert table.tiers_M.tolist() == [1, 2]
    assert (table.column("client_train_macs")[1:] > table.column("client_train_macs")[:-1]).all()
    assert (table.column("server_train_macs")[1:] < table.column("server_train_macs")[:-1]).all()
    assert table.column("smashed_bytes").tolist() == [3 * 36 * 4, 4 * 9 * 4]


def test_a_cut_that_is_no_image_is_refused():
    flat = numbered([nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(3 * 4 * 4, 5)])
    with pytest.raises(InputError, match="the cut of tier 2 has shape"):
        analyse(flat, (2, 6, 6), 5, Numerics())


def test_a_server_half_that_has_nothing_to_train_is_refused():
    model = numbered([nn.Conv2d(2, 3, 3), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())])
    with pytest.raises(InputError, match="the last stage 'md2' has no parameters: the server half could not train"):
        analyse(model, (2, 6, 6), 3, Numerics())


def test_the_analysis_leaves_the_network_and_the_global_generator_as_they_were():
    model = hand_made()
    before, chance = snapshot(model), torch.get_rng_state()
    analyse(model, (2, 6, 6), 5, Numerics(precision="fp64"))
    assert {name: tensor.dtype for name, tensor in model.state_dict().items()} == {
        name: tensor.dtype for name, tensor in before.items()
    }
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), chance)
