"""What a client's defenses keep from round to round, in files: numbers only, checked before use."""

import hashlib
from pathlib import Path

import safetensors
import safetensors.torch

from dtfl_private.deployed.client_store.state import KeptMemory, damaged
from dtfl_private.files import reading
from dtfl_private.files.writing import write_atomic
from dtfl_private.protocol.messages import State

# A copy of a client's modules, at most; no network that a client trains comes near it.
LARGEST_MEMORY_BYTES = 2**32


def write_memory(folder: Path, run: str, number: int, memory: State, before: KeptMemory | None) -> KeptMemory:
    """Write memories beside those of before, which stay until the state names the new ones; return the new entry."""
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in memory.items()}
    data = safetensors.torch.save(tensors)
    file = (
        "memory-1.safetensors"
        if before is not None and before.file == "memory-0.safetensors"
        else ("memory-0.safetensors")
    )
    write_atomic(folder / file, data, private=True)
    return KeptMemory(run=run, round=number, file=file, sha256=hashlib.sha256(data).hexdigest())


def read_memory(folder: Path, kept: KeptMemory) -> State:
    """Return memories.

    Raises:
        InputError: they are absent or damaged.
    """
    try:
        data = reading.read_bytes(folder / kept.file, most_bytes=LARGEST_MEMORY_BYTES)
        if hashlib.sha256(data).hexdigest() != kept.sha256:
            raise ValueError("not the SHA-256 that the state names")
        return safetensors.torch.load(data)  # numbers only: safetensors hold no code
    except (OSError, ValueError) as error:
        raise damaged(folder, kept.file, reading.reason(error)) from None
    except safetensors.SafetensorError as error:
        raise damaged(folder, kept.file, str(error).partition("\n")[0]) from None
