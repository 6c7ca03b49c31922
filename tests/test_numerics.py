import dataclasses

import pytest
import torch
from torch import nn

from dtfl_private.numerics import Numerics


@pytest.mark.parametrize(
    ("precision", "weights", "wire", "layers"),
    [
        ("fp32", torch.float32, torch.float32, torch.float32),
        ("bf16", torch.float32, torch.bfloat16, torch.bfloat16),
        ("fp64", torch.float64, torch.float64, torch.float64),
    ],
)
def test_each_precision_has_its_types(precision, weights, wire, layers):
    numerics = Numerics(precision=precision)
    assert (numerics.weight_dtype, numerics.wire_dtype) == (weights, wire)

    layer = numerics.place(nn.Conv2d(1, 2, 3))
    assert {parameter.dtype for parameter in layer.parameters()} == {weights}
    inputs = numerics.place_images(torch.zeros(2, 1, 5, 5))
    assert inputs.dtype == weights
    with numerics.autocast():
        assert layer(inputs).dtype == layers
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize(
    ("memory_format", "layout"),
    [("channels-last", torch.channels_last), ("contiguous", torch.contiguous_format)],
)
def test_images_and_weights_lie_in_the_chosen_memory_format(memory_format, layout):
    numerics = Numerics(memory_format=memory_format)
    images = torch.arange(2 * 3 * 4 * 5, dtype=torch.uint8).view(2, 3, 4, 5)
    for given in (images, images.to(memory_format=torch.channels_last)):
        placed = numerics.place_images(given)
        assert placed.is_contiguous(memory_format=layout)
        assert torch.equal(placed, images.float())
    assert numerics.place(nn.Conv2d(3, 4, 3)).weight.is_contiguous(memory_format=layout)


def test_channels_last_leaves_inputs_that_are_no_images_alone():
    placed = Numerics(memory_format="channels-last").place_images(torch.ones(2, 7))
    assert placed.is_contiguous()
    assert placed.shape == (2, 7)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp64"])
def test_tokens_stay_whole_numbers(precision):
    tokens = torch.tensor([[0, 255, 3]])
    placed = Numerics(precision=precision, memory_format="channels-last").place_images(tokens)
    assert placed.dtype == torch.int64
    assert torch.equal(placed, tokens)


def test_place_moves_the_module_itself_and_keeps_its_values():
    layer = nn.Conv2d(3, 4, 3)
    before = layer.weight.detach().clone()
    placed = Numerics(precision="fp64", memory_format="channels-last").place(layer)
    assert placed is layer
    assert torch.equal(layer.weight, before.double())


def test_numerics_are_a_frozen_value():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Numerics().precision = "bf16"
    assert Numerics(precision="bf16") == Numerics(precision="bf16") != Numerics()
