"""The rules against torch's own, which are the oracle: equal shapes and types, and the same refusals."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from dtfl_private.models import build
from dtfl_private.models.shape_rules import RULES, ShapeRules
from dtfl_private.numerics import Numerics
from dtfl_private.simulation.costs import analysis

aten = torch.ops.aten
F = nn.functional

# What torch follows without its compiler: views, and tensors that are made.
LEFT_TO_TORCH = {
    *(aten.detach, aten.view, aten._unsafe_view, aten.t, aten.transpose, aten.permute, aten.expand, aten.unsqueeze),
    *(aten.split, aten.unbind, aten.slice, aten.select, aten.alias, aten.empty, aten.zeros, aten.ones),
}


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


WHOLE = {"dtype": torch.int64}
HALF = {"dtype": torch.bfloat16}

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
    "not": lambda: ~meta(2, dtype=torch.bool),
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
    "unequal": lambda: meta(2, **WHOLE) != 0,
    "equal": lambda: meta(2) == 1.5,
    "less": lambda: meta(2) < 1,
    "clamped below": lambda: meta(2, **WHOLE).clamp(min=1),
    "clamped above": lambda: meta(2, **WHOLE).clamp(max=2.5),
    "clone": lambda: meta(2, 3).t().clone(),
    "lower triangle": lambda: meta(3, 3, dtype=torch.bool).tril(),
    "silu": lambda: F.silu(meta(2, **HALF)),
    "gelu": lambda: F.gelu(meta(2), approximate="tanh"),
    "masked": lambda: meta(2, 3).masked_fill(meta(2, 1, dtype=torch.bool), 0.0),
    "masked by a larger mask": lambda: meta(2, 1, **WHOLE).masked_fill(meta(3, dtype=torch.bool), 1),
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
    "empty like": lambda: torch.empty_like(meta(2, 3), dtype=torch.bool),
    "zeros like": lambda: torch.zeros_like(meta(2, 3)),
    "ones like": lambda: torch.ones_like(meta(2, **HALF)),
    "ones like on the CPU": lambda: torch.ones_like(meta(2), device="cpu"),
    "new empty": lambda: meta(2, **HALF).new_empty(3, 4),
    "new zeros": lambda: meta(2).new_zeros(3, dtype=torch.int64),
    "new ones": lambda: meta(2).new_ones((3, 1), dtype=torch.bool),
    "range": lambda: torch.arange(5, device="meta"),
    "range with a step": lambda: torch.arange(1, 8, 3, device="meta"),
    "range of broken numbers": lambda: torch.arange(0, 1, 0.3, device="meta"),
    "range of a type": lambda: torch.arange(2, 5, dtype=torch.float32, device="meta"),
    "mean": lambda: meta(2, 3, 4, **HALF).mean((0, 2)),
    "mean of all": lambda: meta(2, 3).mean(),
    "sum over one": lambda: meta(2, 3, **WHOLE).sum(-1, keepdim=True),
    "mean in a type": lambda: meta(2, 3, **WHOLE).mean(0, dtype=torch.float64),
    "sum of a number": lambda: meta(**WHOLE).sum(),
    "sum of all": lambda: meta(2, 3, dtype=torch.bool).sum(),
    "sum in a type": lambda: meta(2, 3).sum(0, dtype=torch.float64),
    "any over one": lambda: meta(2, 3, 4).any(dim=-1),
    "any over one, kept": lambda: meta(2, 3, dtype=torch.bool).any(dim=0, keepdim=True),
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
    "gradients of layer norm": lambda: aten.native_layer_norm_backward(
        *(meta(2, 3), meta(2, 3), [3], meta(2, 1), meta(2, 1), meta(3), meta(3), [True, False, True])
    ),
}

MISFITS: dict[str, Callable[[], Any]] = {
    "sum of two": lambda: meta(2) + meta(3),
    "quotient": lambda: meta(2) / meta(3),
    "comparison": lambda: meta(2) > meta(3),
    "sum in place of more": lambda: meta(1).add_(meta(3)),
    "sum in place of another type": lambda: meta(2, **WHOLE).add_(meta(2)),
    "quotient in place of whole numbers": lambda: meta(2, **WHOLE).div_(2),
    "product of matrices": lambda: meta(2, 3) @ meta(4, 3),
    "product of batches": lambda: torch.bmm(meta(5, 2, 3), meta(4, 3, 4)),
    "bias": lambda: torch.addmm(meta(3), meta(2, 3), meta(3, 4)),
    "joined": lambda: torch.cat([meta(2, 3), meta(3, 4)], -1),
    "mean of whole numbers": lambda: meta(2, 3, **WHOLE).mean(0),
    "sum over what is not there": lambda: meta(2, 3).sum(2),
    "layer norm": lambda: aten.native_layer_norm(meta(2, 5), [3], meta(3), meta(3), 1e-5),
}


class Seen(TorchDispatchMode):
    """Notes the operators that run under it and return tensors on the meta device."""

    def __init__(self) -> None:
        super().__init__()
        self.packets: set[Any] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        returned = func(*args, **(kwargs or {}))
        first = returned[0] if isinstance(returned, (tuple, list)) else returned
        if isinstance(first, torch.Tensor) and first.is_meta:
            self.packets.add(func._overloadpacket)
        return returned


def described(returned: Any) -> Any:
    """Return what is known of tensors without numbers."""
    if isinstance(returned, tuple):
        return [described(one) for one in returned]
    return returned if returned is None else (returned.shape, returned.dtype, returned.device.type)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_shapes_and_types_are_those_that_torch_finds(call):
    with ShapeRules():
        ours = described(call())
    assert ours == described(call())


@pytest.mark.parametrize("call", MISFITS.values(), ids=MISFITS)
def test_what_does_not_go_together_is_refused_as_torch_refuses_it(call):
    with pytest.raises((RuntimeError, IndexError)) as torchs:
        call()
    with ShapeRules(), pytest.raises(torchs.type) as ours:
        call()
    assert str(ours.value) == str(torchs.value)


def test_each_rule_is_tried():
    with Seen() as seen:
        for call in CALLS.values():
            call()
    assert set(RULES) - seen.packets == set()


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
    assert seen.packets - set(RULES) - LEFT_TO_TORCH == set()
    monkeypatch.setattr(build, "ShapeRules", nullcontext)
    monkeypatch.setattr(analysis, "ShapeRules", nullcontext)
    assert table() == ours
