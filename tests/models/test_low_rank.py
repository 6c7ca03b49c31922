"""Adapters in the sizes to plan with: closed formulas in every tier; nothing is allocated."""

import pytest
import torch
from test_transformers import CLASSES, HUGE, describe

from dtfl_private.models.attention import Attention
from dtfl_private.models.build import LARGE
from dtfl_private.models.cutting.staged import numbered
from dtfl_private.models.low_rank import SCALE, adapt
from dtfl_private.numerics import Numerics
from dtfl_private.simulation.costs.analysis import analyse
from dtfl_private.simulation.costs.network_operators import network_operators
from dtfl_private.simulation.costs.tier_work import HeldParts, step_optimizer, tier_work

R = 8


def tables(name: str):
    size = HUGE[name]
    model = describe(f"{name}:cuts=all,lora={R}", size.tokens)
    assert all(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))
    return size, model, analyse(model, (size.tokens,), CLASSES, Numerics())


@pytest.mark.parametrize("name", sorted(HUGE))
def test_costs_with_adapters_are_the_closed_form_in_every_tier(name):
    size, model, table = tables(name)
    n, d = size.tokens, size.width
    mlp = n * d * (3 * size.inner if size.inner else 8 * d)
    adapters = R * (d + 3 * d)  # one layer of d inputs and 3 d outputs in each block
    forward = size.block_macs(n) + n * adapters
    head = d * CLASSES + CLASSES
    # Backwards through a block: inputs of all layers, both of each product of attention, both and both weights of an
    # adapter. The first block of a half has an input that wants no gradient: none is needed of the adapted layer, nor
    # of the adapter's A.
    later = 4 * n * d**2 + mlp + 2 * 2 * n**2 * d + 2 * n * adapters
    first = later - 3 * n * d**2 - n * R * d
    for row in table.rows:
        below, above = row.tier - 1, size.blocks + 1 - row.tier
        assert (row.client_params, row.server_params) == (below * adapters, above * adapters + head)
        assert row.client_frozen == size.embedding_params + below * size.block_params
        assert row.server_frozen == above * size.block_params + size.norm_params
        assert row.weight_bytes == 4 * (below * adapters + head)
        assert row.smashed_bytes == 4 * n * d
        assert row.client_forward_macs == below * forward
        for trained, blocks in ((row.client_train_macs, below), (row.server_train_macs, above)):
            passed = 3 * d * CLASSES if blocks else 2 * d * CLASSES
            backward = first + (blocks - 1) * later if blocks else 0
            assert trained == blocks * forward + backward + passed
    network = network_operators(model, (n,), CLASSES, Numerics())
    for row in (table.rows[0], table.rows[-1]):
        need = tier_work(network, HeldParts(first=row.tier, head=True), row.tier, step_optimizer("adam", 0.0), 4).need
        trained = 4 * (row.client_params + head)
        assert (need.weights - 4 * row.client_frozen, need.gradients, need.optimizer) == (trained, trained, 2 * trained)


def test_an_adapter_adds_twice_b_a_x_to_what_the_layer_makes():
    torch.manual_seed(0)
    attention, inputs = Attention(8, 2), torch.randn(3, 5, 8)
    plain, weight = attention(inputs)[0], attention.qkv.weight.detach().clone()
    adapt(numbered([attention]), R)
    torch.testing.assert_close(attention(inputs)[0], plain, rtol=0, atol=0)
    torch.nn.init.normal_(attention.qkv.up.weight)
    found = attention(inputs)[0]
    other = Attention(8, 2)
    other.load_state_dict({**dict(other.named_parameters()), "out.weight": attention.out.weight}, strict=True)
    other.qkv.weight.data = weight + SCALE * attention.qkv.up.weight @ attention.qkv.down.weight
    torch.testing.assert_close(found, other(inputs)[0], rtol=0, atol=1e-5)
    assert set(attention.state_dict()) == {"qkv.down.weight", "qkv.up.weight"}


def test_of_rank_zero_the_classifier_alone_is_trained():
    model = describe("bert-base:cuts=all,lora=0", 8)
    assert sum(parameter.numel() for parameter in model.parameters()) == 768 * CLASSES + CLASSES
    assert sum(buffer.numel() for buffer in model.buffers()) >= LARGE
