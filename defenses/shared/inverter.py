"""A small network that reconstructs inputs from activations, as plain tensors: what adversarial-decoder trains against.

Maps (B, C, h, w): a convolution, nearest-neighbour enlargement to the inputs' size, two more convolutions.
Tokens (B, T, D): each token to ``width`` values, and those of all tokens to the inputs by one linear layer.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from dtfl_private.protection.draws import normal

KERNEL = 3

Shape = tuple[int, ...]


def weight_shapes(cut_shape: Shape, input_shape: Shape, width: int) -> Mapping[str, Shape]:
    """Return the shapes of the inverter's weights by name; each has a bias as long as its first axis."""
    if len(cut_shape) == 3:
        return {
            "first": (width, cut_shape[0], KERNEL, KERNEL),
            "second": (width, width, KERNEL, KERNEL),
            "third": (input_shape[0], width, KERNEL, KERNEL),
        }
    return {"first": (width, cut_shape[-1]), "second": (math.prod(input_shape), math.prod(cut_shape[:-1]) * width)}


def initial_weights(shapes: Mapping[str, Shape], chance: torch.Generator) -> dict[str, Tensor]:
    """Return random weights (He et al. 2015, 1502.01852) and zero biases, on the CPU."""
    weights = {}
    for name, shape in shapes.items():
        gain = math.sqrt(2 / math.prod(shape[1:]))
        weights[f"{name}.weight"] = gain * normal(shape, chance).float()
        weights[f"{name}.bias"] = torch.zeros(shape[0])
    return weights


def reconstruct(weights: Mapping[str, Tensor], smashed: Tensor, input_shape: Shape) -> Tensor:
    """Return reconstructions (B, *input_shape) of inputs from activations (B, C, h, w) or (B, ..., D)."""
    if smashed.ndim == 4:
        hidden = F.relu(_convolve(weights, "first", smashed))
        hidden = F.interpolate(hidden, size=input_shape[1:])
        hidden = F.relu(_convolve(weights, "second", hidden))
        return _convolve(weights, "third", hidden)
    hidden = F.relu(F.linear(smashed, weights["first.weight"], weights["first.bias"]))
    flat = F.linear(hidden.flatten(1), weights["second.weight"], weights["second.bias"])
    return flat.reshape(-1, *input_shape)


def _convolve(weights: Mapping[str, Tensor], name: str, values: Tensor) -> Tensor:
    return F.conv2d(values, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=KERNEL // 2)


def forward_macs(cut_shape: Shape, input_shape: Shape, width: int) -> int:
    """Return the multiply-accumulates of one reconstruction."""
    sizes = {name: math.prod(shape) for name, shape in weight_shapes(cut_shape, input_shape, width).items()}
    if len(cut_shape) == 3:
        inner, outer = math.prod(cut_shape[1:]), math.prod(input_shape[1:])
        return sizes["first"] * inner + (sizes["second"] + sizes["third"]) * outer
    return sizes["first"] * math.prod(cut_shape[:-1]) + sizes["second"]
