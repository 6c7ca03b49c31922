"""The start of a residual block: one matrix product instead of two passes, and the plain module elsewhere."""

import copy

import pytest
import torch
from torch import Tensor, nn

from dtfl_private.models.residual import fork
from dtfl_private.models.resnet import Bottleneck
from dtfl_private.randomness import isolated


def images(*, channels: int = 64, dtype: torch.dtype = torch.bfloat16, channels_last: bool = True) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(4, channels, 8, 8, generator=generator).to(dtype)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return drawn.contiguous(memory_format=layout).requires_grad_()


def convolution() -> nn.Conv2d:
    conv = nn.Conv2d(64, 16, 1, bias=False)
    with torch.no_grad():
        conv.weight.copy_(torch.randn(16, 64, 1, 1, generator=torch.Generator().manual_seed(1)) / 8)
    return conv


def is_fork(output: Tensor) -> bool:
    return output.grad_fn is not None and "Fork" in output.grad_fn.name()


def both(conv: nn.Conv2d, inputs: Tensor) -> tuple[Tensor, Tensor]:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return fork(conv, inputs)


def test_output_is_the_convolutions_and_gradients_are_those_of_float64_within_one_rounding():
    conv, inputs = convolution(), images()
    hidden, shortcut = both(conv, inputs)
    assert is_fork(hidden)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(hidden, conv(inputs))
    assert torch.equal(shortcut, inputs)
    towards = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(2)).to(torch.bfloat16)
    past = torch.randn(shortcut.shape, generator=torch.Generator().manual_seed(3)).to(torch.bfloat16)
    of_inputs, of_weight = torch.autograd.grad([hidden, shortcut], [inputs, conv.weight], [towards, past])
    rounded = conv.weight.detach().to(torch.bfloat16).double().flatten(1)
    exact = torch.einsum("bohw,oi->bihw", towards.double(), rounded) + past.double()
    exact_weight = torch.einsum("bohw,bihw->oi", towards.double(), inputs.detach().double())
    # bf16 keeps eight bits: half a unit in the last place is 2^-9 of the value, and sums in float32 add far less.
    assert of_weight.dtype == torch.float32
    torch.testing.assert_close(of_inputs.double(), exact, rtol=2**-8, atol=1e-4)
    torch.testing.assert_close(of_weight.flatten(1).double(), exact_weight, rtol=2**-8, atol=1e-3)


def test_a_frozen_convolution_gets_no_gradient_and_passes_it_on():
    conv, inputs = convolution().requires_grad_(False), images()
    hidden, shortcut = both(conv, inputs)
    (hidden.float().sum() + shortcut.float().sum()).backward()
    assert conv.weight.grad is None
    assert inputs.grad is not None


def test_gradients_have_gradients():
    conv, inputs = convolution(), images()
    hidden, shortcut = both(conv, inputs)
    (grad,) = torch.autograd.grad((hidden.float() ** 2).sum() + shortcut.float().sum(), inputs, create_graph=True)
    (second,) = torch.autograd.grad(grad.float().sum(), inputs)
    # d/dx of 2 W^T W x, summed over its outputs.
    weight = conv.weight.detach().to(torch.bfloat16).double().flatten(1)
    exact = (2 * weight.t() @ weight).sum(dim=0).view(1, 64, 1, 1).expand_as(second)
    torch.testing.assert_close(second.double(), exact, rtol=0.02, atol=0.05)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_in_other_types_it_is_the_plain_module(dtype):
    conv, inputs = convolution().to(dtype), images(dtype=dtype)
    hidden, shortcut = fork(conv, inputs)
    assert not is_fork(hidden)
    assert torch.equal(hidden, conv(inputs))
    assert shortcut is inputs


@pytest.mark.parametrize("case", ["contiguous", "no gradient", "no grad mode", "hook", "backward hook"])
def test_elsewhere_it_is_the_plain_module(case):
    conv, inputs = convolution(), images(channels_last=case != "contiguous")
    seen: list[object] = []
    if case == "no gradient":
        inputs = inputs.detach()
    if case == "hook":
        conv.register_forward_hook(lambda *_: seen.append(case))
    if case == "backward hook":
        conv.register_full_backward_hook(lambda *_: seen.append(case))
    with torch.set_grad_enabled(case != "no grad mode"):
        hidden, shortcut = both(conv, inputs)
    assert not is_fork(hidden)
    assert shortcut is inputs
    if hidden.requires_grad:
        (hidden.float().sum() + shortcut.float().sum()).backward()
    assert bool(seen) == (case in {"hook", "backward hook"})


@pytest.mark.parametrize(("inputs", "stride"), [(64, 1), (32, 2)])
def test_a_bottleneck_has_the_gradients_of_the_plain_one(inputs, stride):
    with isolated(0, "block"):
        block = Bottleneck(inputs, 16, stride, "batch").to(memory_format=torch.channels_last)
    plain = copy.deepcopy(block)
    plain.conv1.register_forward_hook(lambda *_: None)  # watched: the plain module
    grads = []
    for module in (block, plain):
        x = images(channels=inputs)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = (module(x).float() ** 2).mean()
        loss.backward()
        grads.append([x.grad, *(parameter.grad for parameter in module.parameters())])
    for ours, theirs in zip(*grads, strict=True):
        difference = (ours.float() - theirs.float()).norm() / theirs.float().norm()
        assert difference < 0.02
