"""A device that is not the CPU, for machines that have no other: it claims to be one, and computes on the CPU.

Tensors on it are wrappers around CPU tensors. Every operation below autograd is checked by the rules of a real
accelerator: operands lie on one device, a generator on that of what is drawn, and there is no way to numpy but by
``.cpu()``. The numbers are those of the CPU's kernels, so a run on it must leave what a run on the CPU leaves.

It is torch's "lazy" device without its backend: autograd runs its backward passes in the calling thread, and no
driver is asked for.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

NAME = "lazy"
DEVICE = torch.device(NAME, 0)

# Operations in which an accelerator takes indices from the CPU, by the arguments that the indices are not among.
INDEXED = {"index": (0,), "index_put_": (0, 2), "index_put": (0, 2), "_index_put_impl_": (0, 2), "_unsafe_index": (0,)}
BETWEEN_DEVICES = {"_to_copy", "copy_", "_copy_from"}


class OtherDeviceError(RuntimeError):
    """Something that a real accelerator refuses."""


class Claimed(torch.Tensor):
    """A tensor that lies on the claimed device; ``inner`` holds its numbers."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner):
        wrapper = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
        )
        wrapper.inner = inner
        return wrapper

    def __repr__(self):
        return f"Claimed({self.inner})"

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return computed(operation, args, kwargs or {})


class ClaimedGenerator(torch.Generator):
    """A generator for either device."""

    def __new__(cls, device="cpu"):
        claimed = torch.device(device).type == NAME
        made = super().__new__(cls, "cpu" if claimed else device)
        made.claimed = claimed
        return made

    @property
    def device(self):
        return DEVICE if self.claimed else torch.device("cpu")


class OnClaimedDevice(TorchDispatchMode):
    """Sends every operation to `computed`."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        return computed(operation, args, kwargs or {})


def computed(operation, args, kwargs):
    """Return what an operation returns, on the device on which a real accelerator would have it."""
    name = operation.name().partition("::")[2].partition(".")[0]
    there = _result_is_there(name, operation, args, kwargs)
    generator = kwargs.get("generator")
    if isinstance(generator, ClaimedGenerator) and generator.claimed != there:
        raise OtherDeviceError(f"{name} on {_word(there)} draws from a generator on {_word(generator.claimed)}")
    inner_args, inner_kwargs = tree_map_only(Claimed, lambda tensor: tensor.inner, (args, kwargs))
    if inner_kwargs.get("device") is not None:
        inner_kwargs = {**inner_kwargs, "device": torch.device("cpu")}
    result = operation(*inner_args, **inner_kwargs)
    if not there:
        return result
    known = {id(tensor.inner): tensor for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, Claimed)}
    return tree_map_only(torch.Tensor, lambda tensor: known[id(tensor)] if id(tensor) in known else Claimed(tensor), result)


def _result_is_there(name, operation, args, kwargs):
    """Return whether the result lies on the claimed device.

    Raises:
        OtherDeviceError: the operands lie on both devices, which this operation does not take.
    """
    tensors = [tensor for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, torch.Tensor)]
    if kwargs.get("device") is not None:
        return torch.device(kwargs["device"]).type == NAME
    if name in BETWEEN_DEVICES:
        return isinstance(args[0], Claimed)
    if name in INDEXED:
        free = [args[place] for place in INDEXED[name] if place < len(args)]
        indices = tree_leaves(args[1])
        if not isinstance(args[0], Claimed) and any(isinstance(index, Claimed) for index in indices):
            raise OtherDeviceError(f"{name} takes indices on {DEVICE} for a tensor on the CPU")
        tensors = [tensor for tensor in free if isinstance(tensor, torch.Tensor)]
    there = {isinstance(tensor, Claimed) for tensor in tensors}
    if len(there) < 2:
        return True in there
    scalars = torch.Tag.pointwise in operation.tags or name in INDEXED
    if all(isinstance(tensor, Claimed) or (scalars and tensor.ndim == 0) for tensor in tensors):
        return True
    raise OtherDeviceError(f"{name} takes tensors on the CPU and on {DEVICE}")


def _word(there):
    return str(DEVICE) if there else "the CPU"


@contextmanager
def claimed_device() -> Iterator[str]:
    """Let everything in the block compute on the claimed device, whatever it is told; its name is returned."""
    with pytest.MonkeyPatch.context() as patch, OnClaimedDevice():
        patch.setattr(torch, "Generator", ClaimedGenerator)
        # Else a module that is moved keeps its parameters, and these would get another kind of tensor inside.
        patch.setattr(torch.__future__, "get_overwrite_module_params_on_conversion", lambda: True)
        yield NAME
