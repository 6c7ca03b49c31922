"""Named random streams: chance is an argument, and no stream depends on what another one drew.

A stream is named by the seed and a path such as ``("order", client, round)``. Two paths give independent streams,
the same path gives the same numbers in every process and on every host, so that neither the number of workers
nor a resume can change a run. torch is imported by the functions that need it: `stream` does not.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch


def _key(seed: int, path: tuple[str | int, ...]) -> int:
    # JSON keeps ("a", 1) and ("a1",) apart, which joining strings would not.
    text = json.dumps([seed, *path]).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "big")


def stream(seed: int, *path: str | int) -> np.random.Generator:
    """Return the NumPy generator of this seed and path."""
    return np.random.Generator(np.random.PCG64(_key(seed, path)))


def torch_stream(seed: int, *path: str | int, device: "torch.device | str" = "cpu") -> "torch.Generator":
    """Return the torch generator of this seed and path on ``device``."""
    import torch

    return torch.Generator(device).manual_seed(_key(seed, path) % 2**63)


@contextmanager
def isolated(seed: int, *path: str | int) -> Iterator[None]:
    """Give torch's global generators this stream's state inside the block, and restore them afterwards.

    For code that draws from the global generators and takes no generator: ``torch.nn`` initialisers, dropout. The
    generators are those of the CPU and of the current CUDA device.
    """
    import torch

    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        _seed_global_generators(_key(seed, path) % 2**63)
        yield


def _seed_global_generators(key: int) -> None:
    """Do what `torch.manual_seed` does for the devices that are there.

    Where there is no GPU, that function keeps a stack trace of each of its calls, for the day that one is initialised:
    it takes longer than all else here, and memory that is never given back.
    """
    import torch

    torch.default_generator.manual_seed(key)
    if torch.cuda.is_available():
        torch.cuda.manual_seed(key)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(key)


class Order(Protocol):
    """What draws permutations, as NumPy's generators do."""

    def permutation(self, length: int, /) -> NDArray[Any]:
        """Return 0..length-1 in a random order, int64."""
        ...


class Randomness(Protocol):
    """Where a client's chance comes from: the seed of a simulated run, or a deployed client's own machine."""

    def generator(self, *path: str | int, device: "torch.device | str" = "cpu") -> "torch.Generator":
        """Return the generator for what this path names, which is drawn once."""
        ...

    def lasting(self, *path: str | int) -> "torch.Generator":
        """Return a generator (CPU) that gives the same draws whenever this path is asked for."""
        ...

    def order(self, *path: str | int) -> Order:
        """Return what draws the permutations that this path names."""
        ...

    def isolated(self, *path: str | int) -> AbstractContextManager[None]:
        """Give torch's global generators a state of this path inside the block, and restore them afterwards."""
        ...


class SeededRandomness:
    """Chance of a simulated run: whoever knows its seed knows every draw.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def generator(self, *path: str | int, device: "torch.device | str" = "cpu") -> "torch.Generator":
        """Return the generator of this path."""
        return torch_stream(self.seed, *path, device=device)

    def lasting(self, *path: str | int) -> "torch.Generator":
        """Return the generator of this path."""
        return torch_stream(self.seed, *path)

    def order(self, *path: str | int) -> Order:
        """Return the NumPy generator of this path."""
        return stream(self.seed, *path)

    def isolated(self, *path: str | int) -> AbstractContextManager[None]:
        """See the function of this name."""
        return isolated(self.seed, *path)


class Lasting:
    """Torch's global generators in a stream's state, as in `isolated`, for blocks that go on where the last one ended.

    For work that takes turns: what one draws does not depend on the others.

    Args:
        seed: of the run.
        path: name of the stream.
    """

    def __init__(self, seed: int, *path: str | int) -> None:
        self._key = _key(seed, path) % 2**63
        self._states: tuple[torch.Tensor, list[torch.Tensor]] | None = None

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Give the generators the stream's state inside the block, and restore them afterwards."""
        import torch

        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        with torch.random.fork_rng(devices):
            if self._states is None:
                _seed_global_generators(self._key)
            else:
                torch.set_rng_state(self._states[0])
                for device, state in zip(devices, self._states[1], strict=True):
                    torch.cuda.set_rng_state(state, device)
            yield
            self._states = (torch.get_rng_state(), [torch.cuda.get_rng_state(device) for device in devices])
