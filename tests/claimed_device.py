"""A device that is not the CPU, for machines that have no other: it claims to be one, and computes on the CPU.

Tensors on it are wrappers around CPU tensors. Every operation below autograd is checked by the rules of a real
accelerator: operands lie on one device, a generator on that of what is drawn, and there is no way to numpy but by
``.cpu()``. The numbers are those of the CPU's kernels, so a run on it must leave what a run on the CPU leaves.

It is torch's "lazy" device without its backend: autograd runs its backward passes in the calling thread, and no
driver is asked for.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from dtfl_private.experiments.setup import prepare

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

    def tolist(self):
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return computed(operation, args, kwargs or {})


class ClaimedGenerator(torch.Generator):
    """A generator for either device. Operations see torch's own object in its place, known by its address."""

    claims: ClassVar[dict[int, bool]] = {}

    def __new__(cls, device="cpu"):
        claimed = torch.device(device).type == NAME
        made = super().__new__(cls, "cpu" if claimed else device)
        cls.claims[made._cdata] = claimed
        return made

    @property
    def device(self):
        return DEVICE if self.claims[self._cdata] else torch.device("cpu")


class OnClaimedDevice(TorchDispatchMode):
    """Sends every operation to `computed`."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        return computed(operation, args, kwargs or {})


def computed(operation, args, kwargs):
    """Return what an operation returns, on the device on which a real accelerator would have it."""
    name = operation.name().partition("::")[2].partition(".")[0]
    there = _result_is_there(name, operation, args, kwargs)
    generator = kwargs.get("generator")
    claimed = there if generator is None else ClaimedGenerator.claims.get(generator._cdata, False)
    if claimed != there:
        raise OtherDeviceError(f"{name} on {_word(there)} draws from a generator on {_word(claimed)}")
    inner_args, inner_kwargs = tree_map_only(Claimed, lambda tensor: tensor.inner, (args, kwargs))
    if inner_kwargs.get("device") is not None:
        inner_kwargs = {**inner_kwargs, "device": torch.device("cpu")}
    result = operation(*inner_args, **inner_kwargs)
    if not there:
        return result
    known = {id(tensor.inner): tensor for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, Claimed)}
    return tree_map_only(
        torch.Tensor, lambda tensor: known[id(tensor)] if id(tensor) in known else Claimed(tensor), result
    )


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


class ClaimedAutocast(torch.autocast):
    """Autocast that is there on the claimed device, where it leaves layers in their own precision."""

    def __init__(self, device_type, *args, **kwargs):
        super().__init__("cpu" if device_type == NAME else device_type, *args, **kwargs)
        self._enabled = self._enabled and device_type != NAME


def _fused_kernels():
    return ["cpu", NAME]


def _chosen(name):
    """Stand in for `choose_device`: whoever does not ask for the CPU gets the claimed device."""
    return "cpu" if name == "cpu" else NAME


def _as_cuda(resolved_config):
    """Return the function, but that the configuration of a run names a device that configurations know."""

    def resolved(*parts):
        config = resolved_config(*parts)
        return config.model_copy(update={"device": "cuda"}) if config.device == NAME else config

    return resolved


@contextmanager
def claimed_device() -> Iterator[None]:
    """Let what is not told otherwise by ``device="cpu"`` compute on the claimed device inside the block."""
    with pytest.MonkeyPatch.context() as patch, OnClaimedDevice():
        patch.setattr(torch, "Generator", ClaimedGenerator)
        patch.setattr(torch, "autocast", ClaimedAutocast)
        # Else a module that is moved keeps its parameters, and these would get another kind of tensor inside.
        patch.setattr(torch.__future__, "get_overwrite_module_params_on_conversion", lambda: True)
        optimizers = sys.modules["torch.optim.optimizer"]
        patch.setattr(optimizers, "_get_fused_kernels_supported_devices", _fused_kernels)
        patch.setattr(torch.optim.Optimizer, "_accelerator_graph_capture_health_check", lambda _: None)
        for name, module in list(sys.modules.items()):
            if name.startswith("dtfl_private.") and hasattr(module, "choose_device"):
                patch.setattr(module, "choose_device", _chosen)
        patch.setattr(prepare, "resolved_config", _as_cuda(prepare.resolved_config))
        yield
