"""Objects on their way to a worker process: the tensors in one piece of shared memory, the rest as bytes.

multiprocessing's own way gives every tensor a shared-memory segment, hence a file descriptor, of its own: a network of
some hundred layers has more of them than a process may open.
"""

import io
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from dtfl_private.errors import InputError
from dtfl_private.plugins.own_objects import search_first, searched_first
from dtfl_private.runtime.shared_block import SharedBlock


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """An object to be sent: its bytes, its tensors' storages in shared memory, and where the user's own modules lie."""

    data: bytes
    storages: SharedBlock
    own_modules: Mapping[str, str]


class _NotFoundError(Exception):
    """A class or function that another process has no way to find."""


def packed(thing: object, parts: Mapping[str, object]) -> Parcel:
    """Return an object as it can be sent to a process of this machine.

    Args:
        thing: what is sent.
        parts: the parts of it that are the user's own, by what to call them in an error.

    Raises:
        InputError: it cannot be sent, or would not be understood there; the part is named.
        RuntimeError: there is not enough shared memory.
    """
    try:
        data, storages = _written(thing)
    except Exception as error:  # whatever a class of the user's raises when it is written down
        name, reason = next(((name, why) for name, part in parts.items() if (why := _obstacle(part))), ("", error))
        raise InputError(
            f"{name or 'a part of this run'} cannot be sent to worker processes ({one_line(reason)}): "
            "define it in a .py file, or use workers=1"
        ) from None
    return Parcel(data=data, storages=SharedBlock.holding(storages), own_modules=searched_first())


def unpacked(parcel: Parcel) -> Any:
    """Return the object in the process that it was sent to; its tensors lie in memory that all processes share.

    Raises:
        InputError: its classes are not found here.
    """
    search_first(parcel.own_modules)
    # Tensors are written as calls of `_tensor`, which looks here.
    _storages[:] = parcel.storages.pieces()
    try:
        return ForkingPickler.loads(parcel.data)
    except Exception as error:  # whatever a class of the user's raises when it is made anew
        raise InputError(
            f"worker processes cannot read what this run sends them ({one_line(error)}): define your own defenses, "
            "networks and methods in a .py file, outside `if __name__ == '__main__':`, or use workers=1"
        ) from None
    finally:
        _storages.clear()


def one_line(error: object) -> str:
    """Return an error's text on one line, with its type if it is an exception of Python's own."""
    text = " ".join(str(error).split())
    return text if isinstance(error, _NotFoundError | str) else f"{type(error).__name__}: {text}"


def _obstacle(part: object) -> Exception | None:
    try:
        _written(part)
    except Exception as error:  # pickling calls methods of the user's own parts, which may raise anything
        return error
    return None


def _written(thing: object) -> tuple[bytes, list[Tensor]]:
    file = io.BytesIO()
    writer = _Writer(file)
    writer.dump(thing)
    return file.getvalue(), writer.storages


class _Writer(ForkingPickler):
    """Writes an object, its tensors by number, and collects their storages."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.storages: list[Tensor] = []
        self._numbers: dict[int, int] = {}

    def reducer_override(self, thing: Any) -> Any:
        """Return how a tensor is written; refuse what a new process does not find."""
        if isinstance(thing, type | FunctionType) and thing.__module__ == "__main__" and not _main_is_found():
            raise _NotFoundError(f"{thing.__qualname__} is defined in a notebook or at a prompt")
        if not _has_plain_storage(thing):
            return NotImplemented
        form = (thing.dtype, tuple(thing.shape), thing.stride(), thing.storage_offset())
        return _tensor, (self._number(thing), *form, thing.requires_grad, type(thing) is nn.Parameter)

    def _number(self, tensor: Tensor) -> int:
        """Return the number of a tensor's storage; tensors that share one keep sharing it."""
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._numbers or not storage.nbytes():
            self._numbers[storage.data_ptr()] = len(self.storages)
            # It holds the storage, so that its address is nobody else's while this writer lives.
            self.storages.append(torch.empty(0, dtype=torch.uint8).set_(storage))
        return self._numbers[storage.data_ptr()]


def _has_plain_storage(thing: object) -> bool:
    """Whether it is a tensor that its storage, shape and strides say all about; others are left to torch."""
    return (
        type(thing) in (Tensor, nn.Parameter)
        and isinstance(thing, Tensor)
        and thing.device.type == "cpu"
        and thing.layout == torch.strided
        and thing.is_leaf
        and not (thing.is_quantized or thing.is_conj() or thing.is_neg())
    )


def require_main_file() -> None:
    """Check that new processes, which begin by importing the script that starts them, can do so.

    Raises:
        InputError: the script came through standard input.
    """
    spec, file = _main_origin()
    if spec is None and file is not None and file.startswith("<"):
        raise InputError(
            f"worker processes import the script that starts them, and this one is {file}: "
            "put it into a .py file, or use workers=1"
        )


def _main_is_found() -> bool:
    """Whether a new process can import what runs here as ``__main__``, as that of a script but not of a notebook."""
    return _main_origin() != (None, None)


def _main_origin() -> tuple[str | None, str | None]:
    """Return the module name and the file of what runs as ``__main__``, as far as it has them."""
    main = sys.modules["__main__"]
    return getattr(getattr(main, "__spec__", None), "name", None), getattr(main, "__file__", None)


# In a process that unpacks: the storages of the parcel at hand, (bytes,) uint8 each.
_storages: list[Tensor] = []


def _tensor(
    number: int,
    dtype: torch.dtype,
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    offset: int,
    requires_grad: bool,
    parameter: bool,
) -> Tensor:
    tensor = _storages[number].view(dtype).as_strided(shape, stride, offset)
    return nn.Parameter(tensor, requires_grad) if parameter else tensor.requires_grad_(requires_grad)
