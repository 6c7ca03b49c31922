"""A cache on disk of guesses and of what attacks train for them, so that an interruption costs little.

One safetensors file for each piece of work, named by a digest of all that it depends on, so that a file is either right
or not there. Deleting the folder is safe.
"""

import hashlib
import inspect
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from dtfl_private.attacking.base import Attack
from dtfl_private.attacking.evidence import Auxiliary
from dtfl_private.files import reading
from dtfl_private.files.writing import write_atomic
from dtfl_private.protocol.messages import Seen, State

log = logging.getLogger(__name__)

LARGEST_BYTES = 2**32


class ResultCache:
    """Tensors on disk by what they depend on; what depends on None, as it cannot be written down, is never there.

    Args:
        folder: where they lie.
        basis: what all of them depend on: the run and its model.
    """

    def __init__(self, folder: Path, basis: Mapping[str, object]) -> None:
        self._folder = folder
        self._basis = basis

    def find(self, what: Mapping[str, object] | None) -> Mapping[str, Tensor] | None:
        """Return the tensors that ``what`` names; None if they are not there, or damaged."""
        if what is None:
            return None
        try:
            data = reading.read_bytes(self._path(what), most_bytes=LARGEST_BYTES)
            found = safetensors.torch.load(data)  # numbers only: safetensors hold no code
            log.debug("found cached result %s", self._path(what).name)
            return found
        except (OSError, ValueError, safetensors.SafetensorError):
            return None

    def store(self, what: Mapping[str, object] | None, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Store tensors under what they depend on; return them as they will be found."""
        if what is None:
            return tensors
        path = self._path(what)
        stored = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, safetensors.torch.save(stored))
        log.debug("cached result %s", path.name)
        return stored

    def get_or_make(
        self, what: Mapping[str, object], make: Callable[[], Mapping[str, Tensor]]
    ) -> tuple[Mapping[str, Tensor], bool]:
        """Return the tensors that ``what`` names, and whether they were there; made and stored if they were not."""
        found = self.find(what)
        return (self.store(what, make()), False) if found is None else (found, True)

    def has(self, what: Mapping[str, object] | None) -> bool:
        """Whether the tensors that ``what`` names are there, undamaged."""
        if what is None:
            return False
        try:
            reading.require_regular(self._path(what), most_bytes=LARGEST_BYTES)
            with safetensors.safe_open(self._path(what), framework="pt"):  # numbers only: they hold no code
                return True
        except (OSError, ValueError, safetensors.SafetensorError):
            return False

    def _path(self, what: Mapping[str, object]) -> Path:
        text = json.dumps({**self._basis, **what}, sort_keys=True).encode()
        return self._folder / f"{hashlib.blake2b(text, digest_size=16).hexdigest()}.safetensors"


def digest_of(rounds: Sequence[Seen]) -> str:
    """Return a short text that is the same for the same messages, and for no others."""
    states: list[State] = []
    for seen in rounds:
        states += [seen.download.weights, seen.download.head]
        states += [{"smashed": batch.smashed, "labels": batch.labels} for batch in seen.batches]
        states += [{"reply": reply.gradient} for reply in seen.replies]
        states += [{"logits": sent.logits} for sent in seen.logits]
        states += [] if seen.update is None else [seen.update.weights, seen.update.head]
    return _digest(tensor for state in states for _, tensor in sorted(state.items()))


def digest_of_auxiliary(data: Auxiliary) -> str:
    """Return a short text that is the same for the same auxiliary data, and for no others."""
    return _digest([data.images, data.labels, data.validation_images, data.validation_labels])


def _digest(tensors: Iterable[Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        # Viewed as bytes: NumPy knows no bfloat16.
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def code_of(attack: Attack) -> str | None:
    """Return a digest of an attack's own source file; None if its settings or its source cannot be written down."""
    if not all(isinstance(value, bool | int | float | str | None) for value in vars(attack).values()):
        return None
    try:
        source = inspect.getsource(inspect.getmodule(type(attack)) or type(attack))
    except (OSError, TypeError):  # typed into an interpreter
        return None
    return hashlib.blake2b(source.encode(), digest_size=16).hexdigest()
