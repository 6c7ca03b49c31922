"""The multiply-accumulates (MACs) of a training step, counted as torch runs it.

They are those of convolutions and matrix products as torch's flop counter sees them (one MAC is two of its flops);
normalisation, activation and optimiser work is not in them. The counter knows torch's fused attention on some devices
only, so attention is counted in its plain form, which does the same products.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from dtfl_private.models.mac_counter import MacCounter


@dataclass(frozen=True, kw_only=True)
class StageMacs:
    """MACs per image of one stage: forward; forward and backward; the same when its input needs no gradient."""

    forward: int
    inner: int
    first: int
    trainable: bool


def stage_macs(stage: nn.Module, inputs: Tensor) -> StageMacs:
    """Return what a stage takes for a batch of these inputs."""
    trainable = any(parameter.requires_grad for parameter in stage.parameters())
    forward, first = _count(stage, inputs, backward=trainable)
    inner = first
    if inputs.is_floating_point():  # no gradient flows to tokens
        needing_gradient = inputs.clone().requires_grad_().clone()  # no leaf: a stage may begin with an in-place ReLU
        _, inner = _count(stage, needing_gradient, backward=True)
    return StageMacs(forward=forward, inner=inner, first=first, trainable=trainable)


def _count(stage: nn.Module, inputs: Tensor, *, backward: bool) -> tuple[int, int]:
    """Return the MACs per image of a forward pass, and of forward and backward together."""
    with MacCounter() as counter, sdpa_kernel(SDPBackend.MATH):
        outputs = stage(inputs)
        forward = counter.macs
        if backward:
            outputs.sum().backward()  # without a gradient of its own, for which torch would load its compiler's shapes
    return forward // len(inputs), counter.macs // len(inputs)


def train_macs(stages: Sequence[StageMacs], *, gradient_flows: bool = False) -> int:
    """Return the MACs of training a chain whose input needs no gradient, unless told that it does."""
    total = 0
    for stage in stages:
        total += stage.inner if gradient_flows else stage.first
        gradient_flows = gradient_flows or stage.trainable
    return total
