"""The start of a residual block, where its input goes two ways: into a 1x1 convolution, and to the sum at the end."""

from typing import Any

import torch
from torch import Tensor, nn


def _rows(images_BCHW: Tensor) -> Tensor:
    """Return the pixels (B x H x W, C); in the channels_last format nothing is copied."""
    return images_BCHW.permute(0, 2, 3, 1).flatten(0, 2)


class _Fork(torch.autograd.Function):
    """A 1x1 convolution and its input once more; backward is one matrix product that adds the second gradient."""

    @staticmethod
    def forward(ctx: Any, inputs_BCHW: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(inputs_BCHW, weight)
        return torch.conv2d(inputs_BCHW, weight), inputs_BCHW.view_as(inputs_BCHW)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None]:
        inputs_BCHW, weight = ctx.saved_tensors
        grad, shortcut = map(_rows, grads)
        batch, channels, height, width = inputs_BCHW.shape
        summed = torch.addmm(shortcut, grad, weight.flatten(1))
        of_inputs = summed.view(batch, height, width, channels).permute(0, 3, 1, 2)
        of_weight = (grad.t() @ _rows(inputs_BCHW)).view_as(weight) if ctx.needs_input_grad[1] else None
        return of_inputs, of_weight


def fork(conv: nn.Conv2d, inputs_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Return the output of a 1x1 convolution (stride 1, no bias), and its input for the shortcut.

    Autograd writes the gradient of the one and then adds that of the other, which waits for memory longer than the
    convolution takes. In bf16 on a CPU, in channels_last, the product adds it as it writes, and rounds once less.
    Elsewhere, and where hooks watch the convolution, as per-sample gradients do, it is the plain module.
    """
    if _adds_as_it_writes(conv, inputs_BCHW):
        hidden, shortcut = _Fork.apply(inputs_BCHW, conv.weight.to(inputs_BCHW.dtype))
        return hidden, shortcut
    return conv(inputs_BCHW), inputs_BCHW


def _adds_as_it_writes(conv: nn.Conv2d, inputs_BCHW: Tensor) -> bool:
    watched = conv._forward_hooks or conv._forward_pre_hooks or conv._backward_hooks or conv._backward_pre_hooks
    return (
        inputs_BCHW.dtype == torch.bfloat16
        and inputs_BCHW.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and inputs_BCHW.requires_grad
        and torch.is_grad_enabled()
        and inputs_BCHW.is_contiguous(memory_format=torch.channels_last)
        and not watched
    )
