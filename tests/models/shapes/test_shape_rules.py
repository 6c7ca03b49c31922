"""The rules against torch's own, which are the oracle: equal shapes, types and layouts, and the same refusals."""

import random
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from dtfl_private.models import build
from dtfl_private.models.shapes.mode import ShapeRules
from dtfl_private.models.shapes.rules import RULES
from dtfl_private.numerics import Numerics
from dtfl_private.simulation.costs import analysis

aten = torch.ops.aten
F = nn.functional

# What torch follows without its compiler: views, tensors that are made, and what goes to the meta device from another.
LEFT_TO_TORCH = {
    *(aten.detach, aten.view, aten._unsafe_view, aten.t, aten.transpose, aten.permute, aten.expand, aten.unsqueeze),
    *(
        aten.split,
        aten.unbind,
        aten.slice,
        aten.select,
        aten.alias,
        aten.empty,
        aten.empty_permuted,
        aten.zeros,
        aten._to_copy,
    ),
}


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


WHOLE = {"dtype": torch.int64}
HALF = {"dtype": torch.bfloat16}
TRUTH = {"dtype": torch.bool}

CALLS: dict[str, Callable[[], Any]] = {
    "sum of two": lambda: meta(2, 1, 3) + meta(4, 1),
    "sum of whole and floating": lambda: meta(3, **WHOLE) + meta(3, **HALF),
    "sum with a number": lambda: meta(2, **WHOLE) + 1,
    "sum with a broken number": lambda: meta(2, **WHOLE) + 1.5,
    "sum with alpha": lambda: torch.add(meta(2), meta(2), alpha=2),
    "difference": lambda: meta(2, 3, **HALF) - meta(3),
    "product": lambda: meta(2, 3) * meta(1, **WHOLE),
    "product with a tensor of no dimension": lambda: meta(2, **HALF) * meta(dtype=torch.float64),
    "power": lambda: meta(2) ** 3,
    "power of a number": lambda: 10_000.0 ** meta(2, **WHOLE),
    "negative": lambda: -meta(2, **WHOLE),
    "not": lambda: ~meta(2, **TRUTH),
    "quotient of whole numbers": lambda: meta(2, **WHOLE) / 2,
    "quotient": lambda: meta(2, 1, **HALF) / meta(3),
    "whole quotient": lambda: torch.div(meta(2, **WHOLE), 2, rounding_mode="floor"),
    "reciprocal": lambda: 1 / meta(2, **WHOLE),
    "quotient of complex numbers": lambda: meta(2, dtype=torch.complex64) / 2,
    "sum into a tensor": lambda: aten.add.out(meta(2), meta(2), out=meta(0)),
    "reciprocal root": lambda: torch.rsqrt(meta(2, **HALF)),
    "cosine": lambda: meta(2, **WHOLE).cos(),
    "sine": lambda: meta(2).sin(),
    "sigmoid": lambda: meta(2).sigmoid(),
    "hyperbolic tangent": lambda: meta(2).tanh(),
    "greater": lambda: meta(2, 1) > meta(3),
    "greater than a number": lambda: meta(2, 1) > 0,
    "unequal": lambda: meta(2, **WHOLE) != 0,
    "equal": lambda: meta(2) == 1.5,
    "less": lambda: meta(2) < 1,
    "clamped below": lambda: meta(2, **WHOLE).clamp(min=1),
    "clamped above": lambda: meta(2, **WHOLE).clamp(max=2.5),
    "clone": lambda: meta(2, 3).t().clone(),
    "lower triangle": lambda: meta(3, 3, **TRUTH).tril(),
    "silu": lambda: F.silu(meta(2, **HALF)),
    "gelu": lambda: F.gelu(meta(2), approximate="tanh"),
    "masked": lambda: meta(2, 3).masked_fill(meta(2, 1, **TRUTH), 0.0),
    "masked by a larger mask": lambda: meta(2, 1, **WHOLE).masked_fill(meta(3, **TRUTH), 1),
    "softmax": lambda: meta(2, 3).softmax(-1),
    "gradient of softmax": lambda: aten._softmax_backward_data(meta(2, 3), meta(2, 3), -1, torch.float32),
    "gradient of silu": lambda: aten.silu_backward(meta(2), meta(2)),
    "gradient of gelu": lambda: aten.gelu_backward(meta(2), meta(2)),
    "sum in place": lambda: meta(2, 3).add_(meta(3)),
    "difference in place": lambda: meta(2).sub_(1),
    "product in place": lambda: meta(2, **HALF).mul_(meta(2)),
    "quotient in place": lambda: meta(2).div_(3),
    "filled": lambda: meta(2, **WHOLE).fill_(3),
    "zeroed": lambda: meta(2, **WHOLE).zero_(),
    "drawn": lambda: meta(2).bernoulli_(0.5),
    "uniform": lambda: meta(2).uniform_(),
    "another type": lambda: meta(2, 3).to(torch.bfloat16),
    "another device": lambda: torch.zeros(2, 3).to("meta"),
    "empty like": lambda: torch.empty_like(meta(2, 3), **TRUTH),
    "zeros like": lambda: torch.zeros_like(meta(2, 3)),
    "ones like": lambda: torch.ones_like(meta(2, **HALF)),
    "ones like on the CPU": lambda: torch.ones_like(meta(2), device="cpu"),
    "new empty": lambda: meta(2, **HALF).new_empty(3, 4),
    "new zeros": lambda: meta(2).new_zeros(3, dtype=torch.int64),
    "new ones": lambda: meta(2).new_ones((3, 1), **TRUTH),
    "range": lambda: torch.arange(5, device="meta"),
    "range with a step": lambda: torch.arange(1, 8, 3, device="meta"),
    "range of broken numbers": lambda: torch.arange(0, 1, 0.3, device="meta"),
    "range of a type": lambda: torch.arange(2, 5, dtype=torch.float32, device="meta"),
    "mean": lambda: meta(2, 3, 4, **HALF).mean((0, 2)),
    "mean of all": lambda: meta(2, 3).mean(),
    "sum over one": lambda: meta(2, 3, **WHOLE).sum(-1, keepdim=True),
    "mean in a type": lambda: meta(2, 3, **WHOLE).mean(0, dtype=torch.float64),
    "sum of a number": lambda: meta(**WHOLE).sum(),
    "sum of all": lambda: meta(2, 3, **TRUTH).sum(),
    "sum in a type": lambda: meta(2, 3).sum(0, dtype=torch.float64),
    "any over one": lambda: meta(2, 3, 4).any(dim=-1),
    "any over one, kept": lambda: meta(2, 3, **TRUTH).any(dim=0, keepdim=True),
    "any over two": lambda: meta(2, 3, 4).any(dim=(0, 1)),
    "any of all": lambda: meta(2, 3).any(),
    "product of matrices": lambda: meta(2, 3) @ meta(3, 4),
    "product of batches": lambda: torch.bmm(meta(5, 2, 3), meta(5, 3, 4)),
    "product of matrices and bias": lambda: torch.addmm(meta(4), meta(2, 3), meta(3, 4)),
    "embedding": lambda: F.embedding(meta(2, 5, **WHOLE), meta(7, 3, **HALF)),
    "gradient of embedding": lambda: aten.embedding_dense_backward(meta(2, 5, 3), meta(2, 5, **WHOLE), 7, -1, False),
    "joined": lambda: torch.cat([meta(2, 3), meta(2, 4)], -1),
    "stacked": lambda: torch.stack([meta(2, 3), meta(2, 3)], -1),
    "gradient of a slice": lambda: aten.slice_backward(meta(2, 1), [2, 3], 1, 0, 1, 1),
    "layer norm": lambda: aten.native_layer_norm(meta(2, 5, 3), [5, 3], meta(5, 3), meta(5, 3), 1e-5),
    "layer norm without weights": lambda: aten.native_layer_norm(meta(2, 3, **HALF), [3], None, None, 1e-5),
    "sum with a number in place": lambda: aten.add_.Scalar(meta(2), 1),
    "sum with a number, as such": lambda: aten.add.Scalar(meta(2, **HALF), 1),
    "difference with a number, as such": lambda: aten.sub.Scalar(meta(2, **WHOLE), 1.5),
    "product with a number, as such": lambda: aten.mul.Scalar(meta(2, **WHOLE), 2),
    "quotient by a number, as such": lambda: aten.div.Scalar(meta(2, **HALF), 2),
    "quotient in place by a number, as such": lambda: aten.div_.Scalar(meta(2, **HALF), 2),
    "range from one to another": lambda: torch.arange(2, 5, device="meta"),
    "gradients of layer norm": lambda: aten.native_layer_norm_backward(
        *(meta(2, 3), meta(2, 3), [3], meta(2, 1), meta(2, 1), meta(3), meta(3), [True, False, True])
    ),
}

# Uses that the rules do not have, and torch has.
UNUSUAL: dict[str, Callable[[], Any]] = {
    "scaled bias": lambda: torch.addmm(meta(4), meta(2, 3), meta(3, 4), alpha=0.5),
    "bias of another type": lambda: torch.addmm(meta(2, dtype=torch.float64), meta(2, 3), meta(3, 2)),
    "bias of one value": lambda: torch.addmm(meta(1), meta(2, 3), meta(3, 4)),
    "joined with nothing": lambda: torch.cat([meta(0), meta(2, 3)], 1),
    "joined with channels last": lambda: torch.cat([channels_last(2, 3, 4, 5), channels_last(2, 3, 4, 5)], 1),
    "into given tensors": lambda: aten.native_layer_norm.out(
        *(meta(2, 3), [3], None, None, 1e-5), out0=meta(0), out1=meta(0), out2=meta(0)
    ),
    "sum of complex numbers": lambda: meta(2, 3, dtype=torch.complex64).sum(-1),
    "bound that changes the type": lambda: meta(2, **WHOLE).clamp(1, 2.5),
    "bounds that are tensors": lambda: meta(2).clamp(meta(2), meta(1)),
    "any over no dimension": lambda: torch.any(meta(2, 3), ()),
    "any of bytes": lambda: meta(2, 3, dtype=torch.uint8).any(0),
    "power of truth values": lambda: meta(2, **TRUTH) ** 2,
    "softmax into another type": lambda: aten._softmax(meta(2, 3, dtype=torch.float16), 0, True),
    "gradient of softmax in another type": lambda: aten._softmax_backward_data(
        meta(2, 3), meta(2, 3), -1, torch.float16
    ),
    "channels last": lambda: meta(2, 3, 4, 5).clone(memory_format=torch.channels_last),
    "layer norm without a weight but with a bias": lambda: aten.native_layer_norm(meta(2, 3), [3], None, meta(3), 1.0),
    "sum in place of what was spread": lambda: meta(1).expand(3).add_(meta(3)),
    "range of nothing": lambda: torch.arange(3, 3, device="meta"),
}

MISFITS: dict[str, Callable[[], Any]] = {
    "sum of two": lambda: meta(2) + meta(3),
    "sum over two devices": lambda: meta(2) + torch.ones(2),
    "quotient": lambda: meta(2) / meta(3),
    "difference of truth values": lambda: meta(2, **TRUTH) - meta(2, **TRUTH),
    "negative truth value": lambda: -meta(2, **TRUTH),
    "sum in place of more": lambda: meta(1).add_(meta(3)),
    "sum in place of another type": lambda: meta(2, **WHOLE).add_(meta(2)),
    "quotient in place of whole numbers": lambda: meta(2, **WHOLE).div_(2),
    "product of matrices": lambda: meta(2, 3) @ meta(4, 3),
    "product of three dimensions": lambda: torch.mm(meta(2, 2, 3), meta(3, 4)),
    "product of one dimension": lambda: torch.mm(meta(2, 3), meta(3)),
    "product of batches": lambda: torch.bmm(meta(5, 2, 3), meta(4, 3, 4)),
    "product of batches of two dimensions": lambda: torch.bmm(meta(2, 3), meta(3, 4)),
    "bias": lambda: torch.addmm(meta(3), meta(2, 3), meta(3, 4)),
    "joined": lambda: torch.cat([meta(2, 3), meta(3, 4)], -1),
    "joined where there is nothing": lambda: torch.cat([meta(2, 3), meta(2, 3)], 2),
    "stacked": lambda: torch.stack([meta(2, 3), meta(3, 3)]),
    "layer norm": lambda: aten.native_layer_norm(meta(2, 5), [3], meta(3), meta(3), 1e-5),
    "layer norm by other weights": lambda: F.layer_norm(meta(2, 5), [5], meta(3)),
    "mean of whole numbers": lambda: meta(2, 3, **WHOLE).mean(0),
    "sum over what is not there": lambda: meta(2, 3).sum(2),
    "sum twice over one": lambda: meta(2, 3).sum((0, -2)),
    "bounds that are missing": lambda: meta(2).clamp(),
    "masked by numbers": lambda: meta(2).masked_fill(meta(2, **WHOLE), 0.0),
    "triangle of one dimension": lambda: meta(2).tril(),
    "unknown approximation": lambda: F.gelu(meta(2), approximate="x"),
    "vectors of three dimensions": lambda: F.embedding(meta(2, **WHOLE), meta(2, 3, 4)),
    "range without steps": lambda: torch.arange(0, 5, 0, device="meta"),
    "range backwards": lambda: torch.arange(5, 2, 1, device="meta"),
}


def channels_last(*shape: int) -> torch.Tensor:
    return meta(*shape).to(memory_format=torch.channels_last)


class Seen(TorchDispatchMode):
    """Notes the operators that run under it and return tensors on the meta device."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: set[Any] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        returned = func(*args, **(kwargs or {}))
        first = returned[0] if isinstance(returned, (tuple, list)) else returned
        if isinstance(first, torch.Tensor) and first.is_meta:
            self.operators.add(func)
        return returned


def described(returned: Any) -> Any:
    """Return what is known of tensors without numbers."""
    if isinstance(returned, tuple):
        return [described(one) for one in returned]
    if returned is None:
        return None
    strides = [stride for stride, size in zip(returned.stride(), returned.shape, strict=True) if size > 1]
    return returned.shape, strides, returned.dtype, returned.device.type


def outcome(call: Callable[[], Any]) -> Any:
    """Return what a call makes, or how it is refused."""
    try:
        return described(call())
    except Exception as error:  # whatever torch refuses with is what is compared
        return type(error), str(error)


@pytest.mark.parametrize("call", [*CALLS.values(), *UNUSUAL.values()], ids=[*CALLS, *UNUSUAL])
def test_shapes_types_and_layouts_are_those_that_torch_finds(call):
    with ShapeRules():
        ours = described(call())
    assert ours == described(call())


@pytest.mark.parametrize("call", MISFITS.values(), ids=MISFITS)
def test_what_does_not_go_together_is_refused_as_torch_refuses_it(call):
    with ShapeRules():
        ours = outcome(call)
    assert ours == outcome(call)
    assert isinstance(ours[0], type)


def test_each_rule_is_tried():
    with Seen() as seen:
        for call in CALLS.values():
            call()
    assert set(RULES) - seen.operators == set()


def laid_out(chance: random.Random, shape: list[int]) -> torch.Tensor:
    """Return a tensor of this shape whose dimensions lie in some order, apart from each other or spread from one."""
    dtype = chance.choice([torch.float32, torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.uint8])
    order = chance.sample(range(len(shape)), len(shape))
    sizes = [size * chance.choice([1, 1, 1, 2]) for size in shape]
    made = torch.empty_permuted(sizes, order, dtype=dtype, device="meta")
    for dim, size in enumerate(shape):
        made = made.narrow(dim, 0, size)
        if chance.random() < 0.1:
            made = made.narrow(dim, 0, 1).expand(*(size if place == dim else -1 for place in range(len(shape))))
    return made


def going_with(chance: random.Random, shape: list[int]) -> list[int]:
    """Return a shape that can mostly be spread to this one."""
    shape = [chance.choice([size, size, size, 1]) for size in shape][chance.choice([0, 0, 0, 1]) :]
    return [chance.choice([2, 3])] if chance.random() < 0.05 else shape


RANDOM_CALLS: list[Callable[[torch.Tensor, torch.Tensor], Any]] = [
    *(torch.add, torch.mul, torch.div, torch.sub, lambda one, _: one + 1, lambda one, _: 2.0**one),
    *(lambda one, _: one / 2, lambda one, _: one > 0, lambda one, _: one.cos(), lambda one, _: ~one),
    *(lambda one, _: one.clone(), lambda one, _: torch.ones_like(one), lambda one, _: one.contiguous()),
    *(lambda one, _: one.to(torch.float64), lambda one, _: F.gelu(one), lambda one, _: one.softmax(-1)),
    *(lambda one, _: one.sum(-1), lambda one, _: one.mean(0, keepdim=True), lambda one, _: one.any(dim=-1)),
    *(lambda one, _: one.sum(), lambda one, other: one.add_(other), lambda one, other: one.div_(other)),
    *(lambda one, other: torch.cat([one, other], -1), lambda one, other: torch.stack([one, other], 1)),
    *(lambda one, other: one.masked_fill(other > 0, 0), lambda one, other: one @ other, lambda one, _: one.tril()),
    *(
        lambda one, _: F.layer_norm(one, one.shape[-1:]),
        lambda one, _: one.fill_(1),
        lambda one, _: one.clamp(0, 1),
    ),
    *(aten.silu_backward, aten.gelu_backward, lambda one, _: one.bernoulli_(0.5), lambda one, _: one**2),
]


def test_a_thousand_calls_on_tensors_of_any_layout_are_what_torch_finds():
    chance = random.Random(0)  # cases of a test
    made = 0
    for _ in range(1000):
        shape = [chance.choice([1, 2, 3]) for _ in range(chance.randrange(1, 5))]
        one, other = laid_out(chance, shape), laid_out(chance, going_with(chance, shape))
        call = chance.choice(RANDOM_CALLS)
        with ShapeRules():
            ours = outcome(lambda: call(one, other))  # noqa: B023 # called at once
        theirs = outcome(lambda: call(one, other))  # noqa: B023 # called at once
        assert ours == theirs, (RANDOM_CALLS.index(call), described(one), described(other))
        made += not (isinstance(ours, tuple) and isinstance(ours[0], type))
    assert made > 600


def test_tensors_with_numbers_are_computed_with():
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    with ShapeRules():
        computed = (values @ values + 1).sum()
    assert computed == 58.0


@pytest.mark.parametrize("name", ["bert-base", "bert-large:lora=4", "gpt2-xl", "llama-7b", "llama-7b:lora=4"])
def test_a_described_transformer_needs_no_more_of_torch_and_its_table_is_the_same(name, monkeypatch):
    def table() -> Any:
        model = build.build_description(name, input_shape=(8,), classes=3, norm="batch", seed=0)
        assert {one.device.type for one in model.parameters()} == {"meta"}
        return analysis._counted(model, (8,), 3, Numerics(), "paper")

    with Seen() as seen:
        ours = table()
    # Operators that follow a rule do not get so far.
    assert {one.overloadpacket for one in seen.operators} - LEFT_TO_TORCH == set()
    monkeypatch.setattr(build, "ShapeRules", nullcontext)
    monkeypatch.setattr(analysis, "ShapeRules", nullcontext)
    assert table() == ours
