"""Chance that nobody but the client can repeat: of the operating system, or of the client's own secret.

A simulation draws all chance from the run's seed (`dtfl_private.randomness.SeededRandomness`), which a deployed server
would know, and with it every draw.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self, final

import numpy as np
import torch
from numpy.typing import NDArray

from dtfl_private.protocol.contracts import IntArray

Bytes = Callable[[int], bytes]
"""Returns so many random bytes, others each time."""

# Where the words of the Mersenne twister lie in the state of torch's CPU generator, 32 bits in 64 each.
_FIRST_WORD, _WORDS = 24, 624


@final
class SecretGenerator(torch.Generator):
    """A generator whose `bits` are fit for secrets; `dtfl_private.protection.draws` draws from them.

    torch's own functions take it as well, for whoever does not know it: they draw from a fast generator, which started
    from such bits. That one hides the draws from who knows the run's seed, but is not made for secrets.
    """

    _source: Bytes

    def __new__(cls, source: Bytes, device: torch.device | str = "cpu") -> Self:
        """Return a generator on a device that takes its bits from a source."""
        made = super().__new__(cls, device)  # type: ignore[call-arg]  # torch says so of __init__ only
        made._source = source
        if made.device.type == "cpu":
            # Of a seed, torch takes 32 bits here: few enough to try them all.
            state = made.get_state().numpy()
            words = state[_FIRST_WORD : _FIRST_WORD + 8 * _WORDS].view(np.uint64)
            words[:] = made.bits(_WORDS) >> np.uint64(32)
            made.set_state(torch.from_numpy(state))
        else:
            made.manual_seed(int(made.bits(1)[0]) >> 1)
        return made

    def __init__(self, source: Bytes, device: torch.device | str = "cpu") -> None:
        super().__init__()

    def bits(self, count: int) -> NDArray[np.uint64]:
        """Return so many times 64 random bits."""
        return np.frombuffer(bytearray(self._source(8 * count)), dtype=np.uint64)


class _Stream:
    """A stream of bytes that a secret and a name give, the same each time: SHAKE-256 of both and a counter."""

    def __init__(self, secret: bytes, name: bytes) -> None:
        self._start = hashlib.sha256(secret).digest() + secret + hashlib.sha256(name).digest()
        self._block = 0

    def __call__(self, count: int) -> bytes:
        self._block += 1
        return hashlib.shake_256(self._start + self._block.to_bytes(8, "big")).digest(count)


class _SecretOrder:
    """Draws permutations."""

    def permutation(self, length: int, /) -> IntArray:
        """Return 0..length-1 in an order that is drawn uniformly."""
        # Ties of 64-bit keys are as good as never there.
        return np.argsort(np.frombuffer(os.urandom(8 * length), dtype=np.uint64), kind="stable")


class SecretRandomness:
    """A deployed client's chance: fresh in every round, and memoised draws by its secret.

    Args:
        secret: of the client, 32 bytes.
        key: of what the memoised draws are for: under another key they are others.
    """

    def __init__(self, secret: bytes, key: str = "") -> None:
        self._secret = secret
        self._key = key

    def generator(self, *path: str | int, device: torch.device | str = "cpu") -> SecretGenerator:
        """Return a generator of the operating system's bits; no path gives the same draws twice."""
        return SecretGenerator(os.urandom, device)

    def lasting(self, *path: str | int) -> SecretGenerator:
        """Return a generator (CPU) of the stream of this path, from its start: the same draws in every round."""
        return SecretGenerator(_Stream(self._secret, json.dumps([self._key, *path]).encode()))

    def order(self, *path: str | int) -> _SecretOrder:
        """Return what draws permutations, others each time."""
        return _SecretOrder()

    @contextmanager
    def isolated(self, *path: str | int) -> Iterator[None]:
        """Give torch's global generators a state of their own inside the block, and restore them afterwards."""
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(int.from_bytes(os.urandom(8), "big") >> 1)
            torch.set_rng_state(self.generator().get_state())
            yield
