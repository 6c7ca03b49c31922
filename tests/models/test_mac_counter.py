"""MACs as torch's own counter has them, from which only gradients of grouped convolutions differ."""

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from dtfl_private.models.mac_counter import MacCounter


def network() -> nn.Module:
    """Return convolutions, attention and products of matrices, next to what is none of them."""
    images = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(2), nn.Linear(16, 8)]
    return nn.Sequential(
        *images, nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Flatten(), nn.Linear(32, 3)
    )


@pytest.mark.parametrize("inference", [False, True])
def test_forward_macs_are_those_of_torchs_counter_also_of_operators_that_consist_of_others(inference):
    model, inputs = network(), torch.zeros(2, 1, 6, 6)
    with torch.inference_mode(inference), sdpa_kernel(SDPBackend.MATH):
        with MacCounter() as ours:
            model(inputs)
        with FlopCounterMode(display=False) as torchs:
            model(inputs)
    assert 2 * ours.macs == torchs.get_total_flops() > 0


def test_both_passes_are_those_of_torchs_counter_and_groups_take_their_share_of_both():
    model, inputs = network(), torch.zeros(2, 1, 6, 6)
    with sdpa_kernel(SDPBackend.MATH):
        with MacCounter() as ours:
            model(inputs).sum().backward()
        with FlopCounterMode(display=False) as torchs:
            model(inputs).sum().backward()
    assert 2 * ours.macs == torchs.get_total_flops()
    for groups in (1, 4):
        convolution, grown = nn.Conv2d(4, 4, 1, groups=groups, bias=False), torch.zeros(2, 4, 3, 3, requires_grad=True)
        with MacCounter() as ours:
            convolution(grown).sum().backward()
        assert ours.macs == 3 * 2 * 9 * 4 * 4 // groups
