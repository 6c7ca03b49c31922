"""Copies of networks, which an adversary makes by the thousand."""

import copy
from typing import Any, TypeVar

from torch import Tensor, fx, nn

# Of these nothing but attributes is to be copied; any other module may have its own way.
OWN = ("torch.nn.modules.", "torchvision.models.", "torchvision.ops.", "dtfl_private.models.")
UNCHANGING = (bool, int, float, str, tuple, type(None))

M = TypeVar("M", bound=nn.Module)


def copied(module: M) -> M:
    """Return a copy that shares nothing with a module, as `copy.deepcopy` makes it, in a third of the time or less.

    A module has a dozen empty mappings, for hooks, at each of which the general way looks as at anything else, and for
    each buffer it looks for others in the same memory: two that share all of it are two in the copy.
    """
    return _copied(module, {})


def _copied(module: M, known: dict[int, Any]) -> M:
    """Return a copy; ``known`` are those of parts that have been met, by identity."""
    if id(module) in known:
        return known[id(module)]  # type: ignore[no-any-return] # a copy of the module, whatever it is
    if isinstance(module, fx.GraphModule):  # it has a way of its own, which takes copies of its parts as they are known
        for part in module.children():
            _copied(part, known)
    if not f"{type(module).__module__}.".startswith(OWN):
        return copy.deepcopy(module, known)
    made = type(module).__new__(type(module))
    known[id(module)] = made
    for name, value in vars(module).items():
        if name == "_modules":
            parts = {key: None if part is None else _copied(part, known) for key, part in module._modules.items()}
            made.__dict__[name] = type(value)(parts)
        elif name in {"_parameters", "_buffers"}:
            made.__dict__[name] = type(value)({key: _tensor(tensor, known) for key, tensor in value.items()})
        elif isinstance(value, dict) and not value:
            made.__dict__[name] = type(value)()
        else:
            made.__dict__[name] = value if _unchanging(value) else copy.deepcopy(value, known)
    return made


def _tensor(tensor: Tensor | None, known: dict[int, Any]) -> Tensor | None:
    """Return a copy; of a plain tensor that fills its memory without a look for others that lie there."""
    if tensor is None or id(tensor) in known:
        return None if tensor is None else known[id(tensor)]
    fills = type(tensor) is Tensor and tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes
    if not fills or tensor.requires_grad or vars(tensor):
        return copy.deepcopy(tensor, known)
    known[id(tensor)] = made = tensor.clone()
    return made


def _unchanging(value: object) -> bool:
    """Whether a value can be shared: it cannot be changed, nor can what it holds."""
    if isinstance(value, tuple):
        return all(map(_unchanging, value))
    return isinstance(value, UNCHANGING)
