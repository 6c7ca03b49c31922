"""What attacks leave behind while they work, so that an interruption costs little: guesses and trained helpers.

ATTACKS/work/DIGEST.safetensors: the digest names everything that the tensors depend on, so that a file is either right
or not there. Deleting the folder is safe.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from dtfl_private.runtime.files import write_atomic


class Workshop:
    """Tensors on disk by what they depend on.

    Args:
        folder: where to keep them.
        basis: what all of them depend on: the run and its model.
    """

    def __init__(self, folder: Path, basis: Mapping[str, object]) -> None:
        self._folder = folder
        self._basis = basis

    def keep(
        self, what: Mapping[str, object], make: Callable[[], Mapping[str, Tensor]]
    ) -> tuple[Mapping[str, Tensor], bool]:
        """Return the tensors that ``what`` names, and whether they were there; made and kept if they were not."""
        path = self._path(what)
        try:
            return safetensors.torch.load(path.read_bytes()), True
        except (OSError, safetensors.SafetensorError):
            # Not there, or half of it after a disk error: made anew.
            pass
        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in make().items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, safetensors.torch.save(tensors))
        return tensors, False

    def _path(self, what: Mapping[str, object]) -> Path:
        text = json.dumps({**self._basis, **what}, sort_keys=True).encode()
        return self._folder / f"{hashlib.blake2b(text, digest_size=16).hexdigest()}.safetensors"
