from typing import get_args

import pytest
import torch

from dtfl_private.errors import InputError
from dtfl_private.models.heads import PooledClassifier, make_heads
from dtfl_private.models.pooling import global_average
from dtfl_private.models.setting_types import HeadSize


@pytest.fixture
def features() -> torch.Tensor:
    return torch.randn(4, 3, 5, 6, generator=torch.Generator().manual_seed(0))


def test_a_head_is_a_global_average_and_one_fully_connected_layer(features):
    head = PooledClassifier(3, 7)
    averages = torch.tensor([[channel.sum() / channel.numel() for channel in image] for image in features])
    torch.testing.assert_close(head(features), averages @ head.fc.weight.T + head.fc.bias)
    assert [name for name, _ in head.named_parameters()] == ["fc.weight", "fc.bias"]


def test_a_head_takes_the_channels_of_its_cut():
    heads = make_heads({2: (16, 8, 8), 5: (64, 4, 4)}, classes=10)
    assert {tier: head.fc.in_features for tier, head in heads.items()} == {2: 16, 5: 64}
    assert {head.fc.out_features for head in heads.values()} == {10}


def test_a_head_takes_the_width_of_a_sequence_s_cut_and_averages_over_the_tokens():
    head = make_heads({1: (5, 6)}, classes=3)[1]
    assert head.fc.in_features == 6
    tokens = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(0))
    averages = torch.stack([sum(sequence) / 5 for sequence in tokens])
    torch.testing.assert_close(head(tokens), averages @ head.fc.weight.T + head.fc.bias)


@pytest.mark.parametrize("shape", [(10,), (), (1, 2, 3, 4)])
def test_a_cut_that_is_neither_image_nor_sequence_cannot_have_a_head(shape):
    said = r"the cut of tier 3 has shape .* need \(channels, height, width\) or \(tokens, width\)"
    with pytest.raises(InputError, match=said):
        make_heads({1: (16, 8, 8), 3: shape}, classes=10)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_global_average_is_the_mean_over_height_and_width_and_its_gradient_keeps_the_format(features, layout):
    features = features.to(memory_format=layout).requires_grad_()
    averages = global_average(features)
    torch.testing.assert_close(averages, features.mean(dim=(2, 3)))
    weights = torch.arange(12.0).view(4, 3)
    (averages * weights).sum().backward()
    torch.testing.assert_close(features.grad, (weights / 30)[:, :, None, None].expand(4, 3, 5, 6))

    # What the layer below receives, before any copy into the leaf's gradient.
    hidden = features * 1
    (received,) = torch.autograd.grad(global_average(hidden).sum(), hidden)
    assert received.is_contiguous(memory_format=layout)


def test_a_small_head_sees_the_means_of_four_channels_at_a_time(features):
    head = make_heads({1: (6, 5, 6)}, classes=7, size="small")[1]
    six = torch.cat([features, features + 1], dim=1)
    averages = six.mean(dim=(2, 3))
    # The last group is filled up with zeros.
    groups = torch.stack([averages[:, :4].sum(dim=1) / 4, averages[:, 4:].sum(dim=1) / 4], dim=1)
    torch.testing.assert_close(head(six), groups @ head.fc.weight.T + head.fc.bias)


def test_a_large_head_has_a_layer_at_every_position_of_images_and_sequences(features):
    head = make_heads({1: (3, 5, 6)}, classes=7, size="large")[1]
    weight, bias = head.local.weight[:, :, 0, 0], head.local.bias
    hidden = torch.einsum("oc,bchw->bohw", weight, features) + bias[:, None, None]
    averages = hidden.clamp(min=0).mean(dim=(2, 3))
    torch.testing.assert_close(head(features), averages @ head.fc.weight.T + head.fc.bias)

    tokens = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(0))
    head = make_heads({1: (5, 6)}, classes=3, size="large")[1]
    averages = (tokens @ head.local.weight.T + head.local.bias).clamp(min=0).mean(dim=1)
    torch.testing.assert_close(head(tokens), averages @ head.fc.weight.T + head.fc.bias)


@pytest.mark.parametrize("shape", [(16, 8, 8), (5, 16)])
def test_the_sizes_of_heads_are_what_they_say(shape):
    sizes = {}
    for size in get_args(HeadSize):
        (head,) = make_heads({1: shape}, classes=10, size=size).values()
        sizes[size] = sum(parameter.numel() for parameter in head.parameters())
    assert sizes == {"small": 10 * 4 + 10, "paper": 10 * 16 + 10, "large": 10 * 16 + 10 + 16 * 16 + 16}


@pytest.mark.parametrize("size", get_args(HeadSize))
def test_padding_counts_for_no_head(size):
    head = make_heads({1: (9, 6)}, classes=3, size=size)[1]
    tokens = torch.randn(2, 9, 6, generator=torch.Generator().manual_seed(0))
    tokens[0, 4:] = 0
    torch.testing.assert_close(head(tokens)[:1], head(tokens[:1, :4]))
