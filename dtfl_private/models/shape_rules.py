"""What torch's operators return for tensors on the meta device: shapes and types, for the operators of transformers.

torch has such rules for all of its operators. They are written upon its compiler, which takes two seconds to load:
longer than all that is asked of a described network. Operators that have no rule here go to torch, and load it; so do
those whose arguments do not go together, for torch to say why.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten

Rule = Callable[..., Any]


class ShapeRules(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch does not annotate its modes
    """Within it, operators on the meta device follow the rules below; all others run as ever."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch does not annotate its modes

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Say that nothing need be hidden from torch's compiler, which torch would load to hide it from."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        rule = RULES.get(func._overloadpacket)
        if rule is not None and "out" not in kwargs and _on_meta(args, **kwargs):
            result = rule(*args, **kwargs)
            if result is not NotImplemented:
                return result
        return func(*args, **kwargs)


def _on_meta(args: Sequence[Any], device: torch.device | None = None, **_: Any) -> bool:
    """Return whether an operator's result is on the meta device: as it is asked for, or as a tensor that is given."""
    if device is not None:
        return device.type == "meta"
    given = args[0] if isinstance(args[0], list) else args
    return any(isinstance(one, Tensor) and one.is_meta for one in given)


def _made(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return a tensor in the order of its dimensions: MACs and bytes do not depend on another."""
    return torch.empty(shape, dtype=dtype, device="meta")


def _same(first: Tensor, *_: Any, **_details: Any) -> Tensor:
    return _made(first.shape, first.dtype)


def _first(first: Tensor, *_: Any, **_details: Any) -> Tensor:
    return first


def _like(first: Tensor, *_: Any, dtype: torch.dtype | None = None, **_layout: Any) -> Tensor:
    return _made(first.shape, dtype or first.dtype)


def _new(first: Tensor, shape: Sequence[int], dtype: torch.dtype | None = None, **_layout: Any) -> Tensor:
    return _made(shape, dtype or first.dtype)


def _arange(*bounds: float, dtype: torch.dtype | None = None, **_layout: Any) -> Tensor:
    start, end, step = (0, *bounds, 1) if len(bounds) == 1 else (*bounds, 1)[:3]
    whole = all(isinstance(bound, int) for bound in bounds)
    return _made([math.ceil((end - start) / step)], dtype or (torch.int64 if whole else torch.get_default_dtype()))


def _pointwise(*args: Any, **_alpha: Any) -> Any:
    """Follow an operator on a tensor, and perhaps another or a number: two tensors are spread to a common shape."""
    try:
        shape = np.broadcast_shapes(*(one.shape for one in args if isinstance(one, Tensor)))
    except ValueError:
        return NotImplemented
    return _made(shape, torch.result_type(*args[:2]) if len(args) > 1 else args[0].dtype)


def _in_place(first: Tensor, other: Any, **alpha: Any) -> Any:
    result = _pointwise(first, other, **alpha)
    fits = result is not NotImplemented and result.shape == first.shape and torch.can_cast(result.dtype, first.dtype)
    return first if fits else NotImplemented


def _of_floats(*args: Any, rounding_mode: str | None = None) -> Any:
    """Follow an operator that makes floating-point numbers of whole ones."""
    result = NotImplemented if rounding_mode is not None else _pointwise(*args)
    if result is NotImplemented or result.is_floating_point() or result.is_complex():
        return result
    return _made(result.shape, torch.get_default_dtype())


def _divided_in_place(first: Tensor, other: Any, **rounding: Any) -> Any:
    return _in_place(first, other) if first.is_floating_point() and not rounding else NotImplemented


def _clamped(values: Tensor, *bounds: float | None) -> Any:
    return _pointwise(values, *(bound for bound in bounds if bound is not None))


def _compared(*args: Any) -> Any:
    result = _pointwise(*args)
    return result if result is NotImplemented else _made(result.shape, torch.bool)


def _masked(values: Tensor, mask: Tensor, _value: Any) -> Any:
    result = _pointwise(values, mask)
    return result if result is NotImplemented else _made(result.shape, values.dtype)


def _reduced(values: Tensor, dims: Sequence[int] | None, dtype: torch.dtype, *, keepdim: bool) -> Any:
    places = range(values.ndim)
    if not all(-len(places) <= dim < len(places) for dim in dims or ()):
        return NotImplemented
    gone = {places[dim] for dim in dims or places}
    return _made([1 if dim in gone else values.shape[dim] for dim in places if keepdim or dim not in gone], dtype)


def _summed(values: Tensor, dims: Sequence[int] | None = None, *keepdim: bool, dtype: torch.dtype | None = None) -> Any:
    of_values = values.dtype if values.is_floating_point() else torch.int64
    return _reduced(values, dims, dtype or of_values, keepdim=any(keepdim))


def _mean(values: Tensor, *rest: Any, dtype: torch.dtype | None = None) -> Any:
    return _summed(values, *rest, dtype=dtype) if (dtype or values.dtype).is_floating_point else NotImplemented


def _any(values: Tensor, dim: int | Sequence[int] | None = None, *keepdim: bool) -> Any:
    dims = [dim] if isinstance(dim, int) else dim
    return _reduced(values, dims, torch.bool, keepdim=any(keepdim))


def _product(left: Tensor, right: Tensor) -> Any:
    """Follow the product of two matrices, or of as many as the first dimension says."""
    fits = left.shape[:-2] == right.shape[:-2] and left.shape[-1] == right.shape[-2] and left.dtype == right.dtype
    return _made([*left.shape[:-1], right.shape[-1]], left.dtype) if fits else NotImplemented


def _product_and_bias(bias: Tensor, left: Tensor, right: Tensor) -> Any:
    product = _product(left, right)
    return product if product is NotImplemented else _in_place(product, bias)


def _embedding(weight: Tensor, places: Tensor, *_: Any) -> Tensor:
    return _made([*places.shape, weight.shape[1]], weight.dtype)


def _embedding_gradient(gradient: Tensor, _places: Tensor, rows: int, *_: Any) -> Tensor:
    return _made([rows, gradient.shape[-1]], gradient.dtype)


def _joined(parts: Sequence[Tensor], dim: int = 0) -> Any:
    shapes = [list(one.shape) for one in parts]
    size = sum(shape.pop(dim) for shape in shapes)
    if any(shape != shapes[0] for shape in shapes) or len({one.dtype for one in parts}) > 1:
        return NotImplemented
    shape = list(parts[0].shape)
    shape[dim] = size
    return _made(shape, parts[0].dtype)


def _stacked(parts: Sequence[Tensor], dim: int = 0) -> Any:
    return _joined([one.unsqueeze(dim) for one in parts], dim)


def _sliced_gradient(gradient: Tensor, shape: Sequence[int], *_: Any) -> Tensor:
    return _made(shape, gradient.dtype)


def _layer_norm(inputs: Tensor, normalized: Sequence[int], weight: Tensor | None, *_: Any) -> Any:
    places = inputs.ndim - len(normalized)
    if inputs.shape[places:] != torch.Size(normalized) or (weight is not None and weight.dtype != inputs.dtype):
        return NotImplemented
    kept = [*inputs.shape[:places], *(1 for _ in normalized)]
    dtype = torch.promote_types(inputs.dtype, torch.float32)
    return _same(inputs), _made(kept, dtype), _made(kept, dtype)


def _layer_norm_gradients(
    gradient: Tensor,
    _inputs: Tensor,
    normalized: Sequence[int],
    _mean: Tensor,
    _deviation: Tensor,
    _weight: Tensor,
    _bias: Tensor,
    wanted: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    shapes = (gradient.shape, normalized, normalized)
    return tuple(_made(shape, gradient.dtype) if asked else None for shape, asked in zip(shapes, wanted, strict=True))


RULES: Mapping[Any, Rule] = {
    **dict.fromkeys([aten.add, aten.sub, aten.mul, aten.pow, aten.neg, aten.bitwise_not], _pointwise),
    **dict.fromkeys([aten.div, aten.reciprocal, aten.rsqrt, aten.cos, aten.sin, aten.sigmoid, aten.tanh], _of_floats),
    **dict.fromkeys([aten.gt, aten.ne, aten.eq, aten.lt], _compared),
    aten.clamp: _clamped,
    aten.masked_fill: _masked,
    **dict.fromkeys([aten.clone, aten.tril, aten.silu, aten.gelu, aten._softmax], _same),
    **dict.fromkeys([aten.silu_backward, aten.gelu_backward, aten._softmax_backward_data], _same),
    **dict.fromkeys([aten.add_, aten.sub_, aten.mul_], _in_place),
    **dict.fromkeys([aten.fill_, aten.zero_, aten.bernoulli_], _first),
    aten.div_: _divided_in_place,
    **dict.fromkeys([aten._to_copy, aten.empty_like, aten.zeros_like, aten.ones_like], _like),
    **dict.fromkeys([aten.new_empty, aten.new_zeros, aten.new_ones], _new),
    aten.arange: _arange,
    aten.mean: _mean,
    aten.sum: _summed,
    aten.any: _any,
    **dict.fromkeys([aten.mm, aten.bmm], _product),
    aten.addmm: _product_and_bias,
    aten.embedding: _embedding,
    aten.embedding_dense_backward: _embedding_gradient,
    aten.cat: _joined,
    aten.stack: _stacked,
    aten.slice_backward: _sliced_gradient,
    aten.native_layer_norm: _layer_norm,
    aten.native_layer_norm_backward: _layer_norm_gradients,
}
