"""The rules: from an operator's arguments to its result, or NotImplemented where torch is to be asked."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dtfl_private.models.shapes.spreading import META, made, order_of, spread

aten = torch.ops.aten

Rule = Callable[..., Any]


def _pointwise(*args: Any) -> Any:
    """Follow an operator on one or two tensors, or one and a number."""
    dtype = torch.result_type(*args) if len(args) > 1 else args[0].dtype
    return spread(*(one for one in args if isinstance(one, Tensor)), dtype=dtype)


def _of_numbers(*args: Any) -> Any:
    """Follow an operator that truth values do not take."""
    if any(isinstance(one, Tensor) and one.dtype == torch.bool for one in args):
        return NotImplemented
    return _pointwise(*args)


def _of_whole(one: Tensor) -> Any:
    return NotImplemented if one.is_floating_point() else _pointwise(one)


def _power(base: Any, exponent: Any) -> Any:
    """Follow a power that is a floating-point number: others have rules of their own."""
    return _of_numbers(base, exponent) if torch.result_type(base, exponent).is_floating_point else NotImplemented


def _of_floats(*args: Any) -> Any:
    """Follow an operator that makes floating-point numbers of whole ones."""
    result = _pointwise(*args)
    if result is NotImplemented or result.is_floating_point():
        return result
    return spread(*(one for one in args if isinstance(one, Tensor)), dtype=torch.get_default_dtype())


def _compared(*args: Any) -> Any:
    return spread(*(one for one in args if isinstance(one, Tensor)), dtype=torch.bool)


def _clamped(values: Tensor, *bounds: float | None) -> Any:
    given = [bound for bound in bounds if bound is not None]
    if not given or any(torch.result_type(values, bound) != values.dtype for bound in given):
        return NotImplemented
    return _of_numbers(values)


def _masked(values: Tensor, mask: Tensor, value: float) -> Any:
    fits = mask.dtype == torch.bool and torch.result_type(values, value) == values.dtype
    if not fits or (values.shape == mask.shape and not values.is_contiguous()):
        return NotImplemented
    try:
        return made(np.broadcast_shapes(values.shape, mask.shape), values.dtype)
    except ValueError:
        return NotImplemented


def _activated(values: Tensor, approximate: str = "none") -> Any:
    return _pointwise(values) if values.is_floating_point() and approximate in ("none", "tanh") else NotImplemented


def _of_gradient(gradient: Tensor, values: Tensor, approximate: str = "none") -> Any:
    """Follow a gradient that has the values' shape."""
    if gradient.shape != values.shape or gradient.dtype != values.dtype:
        return NotImplemented
    return _activated(values, approximate) if gradient.is_contiguous() and values.is_contiguous() else NotImplemented


def _in_place(first: Tensor, *other: Any) -> Any:
    result = _of_numbers(first, *other)
    fits = result is not NotImplemented and result.shape == first.shape and torch.can_cast(result.dtype, first.dtype)
    return first if fits else NotImplemented


def _divided_in_place(first: Tensor, other: Any) -> Any:
    return _in_place(first, other) if first.is_floating_point() else NotImplemented


def _filled(first: Tensor, *_: float, **_generator: object) -> Tensor:
    return first


def _softmax(values: Tensor, dim: int, to_float: bool) -> Any:
    fits = values.is_floating_point() and values.is_contiguous() and not to_float and _are_dims(values, [dim])
    return made(values.shape, values.dtype) if fits else NotImplemented


def _softmax_gradient(gradient: Tensor, output: Tensor, dim: int, dtype: torch.dtype) -> Any:
    fits = gradient.shape == output.shape and gradient.dtype == output.dtype == dtype and output.is_contiguous()
    return _softmax(gradient, dim, False) if fits else NotImplemented


def _triangle(values: Tensor, _diagonal: int = 0) -> Any:
    return made(values.shape, values.dtype) if values.ndim > 1 and values.is_contiguous() else NotImplemented


def _are_dims(values: Tensor, dims: Sequence[int]) -> bool:
    """Return whether a tensor has these dimensions, each of which is named once."""
    return all(-values.ndim <= dim < values.ndim for dim in dims) and len({dim % values.ndim for dim in dims}) == len(
        dims
    )


def _reduced(values: Tensor, dims: Sequence[int] | None, keepdim: bool, dtype: torch.dtype) -> Any:
    if values.ndim == 0 or not _are_dims(values, dims or []):
        return NotImplemented
    gone = {dim % values.ndim for dim in dims or range(values.ndim)}
    sizes = [1 if dim in gone else size for dim, size in enumerate(values.shape) if keepdim or dim not in gone]
    return made(sizes, dtype)


def _summed(values: Tensor, dims: Sequence[int] | None = None, keepdim: bool = False) -> Any:
    return _reduced(values, dims, keepdim, values.dtype if values.is_floating_point() else torch.int64)


def _mean(values: Tensor, dims: Sequence[int] | None = None, keepdim: bool = False) -> Any:
    return _summed(values, dims, keepdim) if values.is_floating_point() else NotImplemented


def _any(values: Tensor, dim: int, keepdim: bool = False) -> Any:
    return _reduced(values, [dim], keepdim, torch.bool)


def _product(left: Tensor, right: Tensor, dims: int = 2) -> Any:
    """Follow the product of two matrices, or of as many as the first of three dimensions says."""
    fits = (
        left.ndim == right.ndim == dims
        and left.shape[:-2] == right.shape[:-2]
        and left.shape[-1] == right.shape[-2]
        and left.dtype == right.dtype
        and left.is_floating_point()
    )
    return made([*left.shape[:-1], right.shape[-1]], left.dtype) if fits else NotImplemented


def _products(left: Tensor, right: Tensor) -> Any:
    return _product(left, right, 3)


def _product_and_bias(bias: Tensor, left: Tensor, right: Tensor) -> Any:
    product = _product(left, right)
    if product is NotImplemented or bias.dtype != product.dtype or bias.shape != product.shape[1:]:
        return NotImplemented
    return product


def _embedding(weight: Tensor, places: Tensor, *_: Any) -> Any:
    fits = weight.ndim == 2 and places.dtype == torch.int64
    return made([*places.shape, weight.shape[1]], weight.dtype) if fits else NotImplemented


def _embedding_gradient(gradient: Tensor, places: Tensor, rows: int, *_: Any) -> Any:
    fits = gradient.shape[:-1] == places.shape and gradient.ndim > 1 and places.dtype == torch.int64
    return made([rows, gradient.shape[-1]], gradient.dtype) if fits else NotImplemented


def _has_channels_last(one: Tensor) -> bool:
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return one.ndim in formats and not one.is_contiguous() and one.is_contiguous(memory_format=formats[one.ndim])


def _joined(parts: Sequence[Tensor], dim: int = 0) -> Any:
    first = parts[0]
    alike = all(one.ndim == first.ndim and one.dtype == first.dtype for one in parts)
    if not alike or not _are_dims(first, [dim]) or any(_has_channels_last(one) for one in parts):
        return NotImplemented
    rest = [[size for place, size in enumerate(one.shape) if place != dim % first.ndim] for one in parts]
    if any(sizes != rest[0] for sizes in rest):
        return NotImplemented
    shape = list(first.shape)
    shape[dim] = sum(one.shape[dim] for one in parts)
    return made(shape, first.dtype)


def _stacked(parts: Sequence[Tensor], dim: int = 0) -> Any:
    first = parts[0]
    alike = all(one.shape == first.shape for one in parts) and 0 <= dim <= first.ndim
    return _joined([one.unsqueeze(dim) for one in parts], dim) if alike else NotImplemented


def _sliced_gradient(gradient: Tensor, shape: Sequence[int], *_: Any) -> Tensor:
    return made(shape, gradient.dtype)


def _layer_norm(
    inputs: Tensor, normalized: Sequence[int], weight: Tensor | None, bias: Tensor | None, _epsilon: float
) -> Any:
    places = inputs.ndim - len(normalized)
    given = [one for one in (weight, bias) if one is not None]
    fits = len(normalized) > 0 and list(inputs.shape[places:]) == list(normalized)
    fits = fits and inputs.is_floating_point() and inputs.is_contiguous()
    if not fits or any(list(one.shape) != list(normalized) or one.dtype != inputs.dtype for one in given):
        return NotImplemented
    kept = [*inputs.shape[:places], *(1 for _ in normalized)]
    dtype = torch.promote_types(inputs.dtype, torch.float32)
    return made(inputs.shape, inputs.dtype), made(kept, dtype), made(kept, dtype)


def _layer_norm_gradients(
    gradient: Tensor,
    inputs: Tensor,
    normalized: Sequence[int],
    _mean: Tensor,
    _deviation: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    wanted: Sequence[bool],
) -> Any:
    given = [gradient, *(one for one in (weight, bias) if one is not None)]
    if len(given) < 3 or any(one.dtype != inputs.dtype or not one.is_contiguous() for one in given):
        return NotImplemented
    shapes = (inputs.shape, normalized, normalized)
    return tuple(made(shape, inputs.dtype) if asked else None for shape, asked in zip(shapes, wanted, strict=True))


def _is_usual(layout: Any, device: torch.device | None, pin_memory: bool | None) -> bool:
    return layout in (None, torch.strided) and device in (None, META) and not pin_memory


def _like(
    first: Tensor,
    dtype: torch.dtype | None = None,
    layout: Any = None,
    device: torch.device | None = None,
    pin_memory: bool | None = None,
    memory_format: torch.memory_format | None = None,
) -> Any:
    order = range(first.ndim) if memory_format is torch.contiguous_format else order_of(first)
    usual = memory_format in (None, torch.preserve_format, torch.contiguous_format)
    fits = usual and _is_usual(layout, device, pin_memory)
    return made(first.shape, dtype or first.dtype, order) if fits else NotImplemented


def _new(
    first: Tensor,
    shape: Sequence[int],
    dtype: torch.dtype | None = None,
    layout: Any = None,
    device: torch.device | None = None,
    pin_memory: bool | None = None,
) -> Any:
    return made(shape, dtype or first.dtype) if _is_usual(layout, device, pin_memory) else NotImplemented


def _arange(
    *bounds: float,
    dtype: torch.dtype | None = None,
    layout: Any = None,
    device: torch.device | None = None,
    pin_memory: bool | None = None,
) -> Any:
    start, end, step = (0, *bounds, 1) if len(bounds) == 1 else (*bounds, 1)[:3]
    whole = all(type(bound) is int for bound in bounds) and step > 0 and start <= end
    if device != META or not whole or not _is_usual(layout, device, pin_memory):
        return NotImplemented
    return made([math.ceil((end - start) / step)], dtype or torch.int64)


RULES: Mapping[Any, Rule] = {
    **dict.fromkeys([aten.add.Tensor, aten.add.Scalar, aten.mul.Tensor, aten.mul.Scalar], _pointwise),
    **dict.fromkeys([aten.sub.Tensor, aten.sub.Scalar, aten.neg.default], _of_numbers),
    **dict.fromkeys([aten.pow.Tensor_Scalar, aten.pow.Scalar], _power),
    **dict.fromkeys([aten.div.Tensor, aten.div.Scalar, aten.reciprocal.default, aten.rsqrt.default], _of_floats),
    **dict.fromkeys([aten.cos.default, aten.sin.default, aten.sigmoid.default, aten.tanh.default], _of_floats),
    **dict.fromkeys([aten.gt.Scalar, aten.ne.Scalar, aten.eq.Scalar, aten.lt.Scalar], _compared),
    aten.bitwise_not.default: _of_whole,
    aten.clamp.default: _clamped,
    aten.masked_fill.Scalar: _masked,
    **dict.fromkeys([aten.silu.default, aten.gelu.default], _activated),
    **dict.fromkeys([aten.silu_backward.default, aten.gelu_backward.default], _of_gradient),
    **dict.fromkeys([aten.add_.Tensor, aten.add_.Scalar, aten.sub_.Tensor, aten.mul_.Tensor], _in_place),
    **dict.fromkeys([aten.div_.Tensor, aten.div_.Scalar], _divided_in_place),
    **dict.fromkeys([aten.fill_.Scalar, aten.zero_.default, aten.bernoulli_.float], _filled),
    aten._softmax.default: _softmax,
    aten._softmax_backward_data.default: _softmax_gradient,
    aten.tril.default: _triangle,
    **dict.fromkeys([aten.mean.default, aten.mean.dim], _mean),
    **dict.fromkeys([aten.sum.default, aten.sum.dim_IntList], _summed),
    aten.any.dim: _any,
    aten.mm.default: _product,
    aten.bmm.default: _products,
    aten.addmm.default: _product_and_bias,
    aten.embedding.default: _embedding,
    aten.embedding_dense_backward.default: _embedding_gradient,
    aten.cat.default: _joined,
    aten.stack.default: _stacked,
    aten.slice_backward.default: _sliced_gradient,
    aten.native_layer_norm.default: _layer_norm,
    aten.native_layer_norm_backward.default: _layer_norm_gradients,
    **dict.fromkeys([aten.clone.default, aten._to_copy.default], _like),
    **dict.fromkeys([aten.empty_like.default, aten.zeros_like.default, aten.ones_like.default], _like),
    **dict.fromkeys([aten.new_empty.default, aten.new_zeros.default, aten.new_ones.default], _new),
    **dict.fromkeys([aten.arange.default, aten.arange.start, aten.arange.start_step], _arange),
}

_OF_NEW = frozenset({"dtype", "layout", "device", "pin_memory"})
_OF_LIKE = _OF_NEW | {"memory_format"}
# Arguments by name, as far as the rules take any.
KEYWORDS: Mapping[Any, frozenset[str]] = {
    **dict.fromkeys([aten.gelu.default, aten.gelu_backward.default], frozenset({"approximate"})),
    aten.bernoulli_.float: frozenset({"generator"}),
    **dict.fromkeys([aten.clone.default, aten._to_copy.default], _OF_LIKE),
    **dict.fromkeys([aten.empty_like.default, aten.zeros_like.default, aten.ones_like.default], _OF_LIKE),
    **dict.fromkeys([aten.new_empty.default, aten.new_zeros.default, aten.new_ones.default], _OF_NEW),
    **dict.fromkeys([aten.arange.default, aten.arange.start, aten.arange.start_step], _OF_NEW),
}
