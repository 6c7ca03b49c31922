"""Partitions: pure functions from labels to one index array per client."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from dtfl_private.contracts import IntArray, Partition
from dtfl_private.errors import InputError
from dtfl_private.plugins import create

# The draw divides by a sum of one value near alpha per client, which must not overflow.
MAX_ALPHA = 1e100


@dataclass(frozen=True, kw_only=True)
class Iid:
    """Independent and identically distributed: a random deal in parts whose sizes differ by at most one."""

    def deal(self, labels: IntArray, clients: int, rng: np.random.Generator) -> list[IntArray]:
        """Return one sorted index array per client."""
        return [np.sort(part) for part in np.array_split(rng.permutation(len(labels)), clients)]


@dataclass(frozen=True)
class Dirichlet:
    """Label skew: each class is dealt out in shares drawn from Dirichlet(alpha) (Hsu et al. 2019, 1909.06335).

    A client that the draw leaves with fewer than ``floor`` images gets the missing ones from the largest clients, one
    at a time: no client may be empty.
    """

    alpha: Annotated[float, Field(gt=0, le=MAX_ALPHA, allow_inf_nan=False)] = 0.5
    floor: Annotated[int, Field(ge=1)] = 2

    def deal(self, labels: IntArray, clients: int, rng: np.random.Generator) -> list[IntArray]:
        """Return one sorted index array per client."""
        parts: list[list[int]] = [[] for _ in range(clients)]
        for label in np.unique(labels):
            members = rng.permutation(np.flatnonzero(labels == label))
            shares = rng.dirichlet(np.full(clients, self.alpha))
            ends = np.round(np.cumsum(shares)[:-1] * len(members)).astype(np.int64)
            for part, dealt in zip(parts, np.split(members, ends), strict=True):
                part.extend(dealt.tolist())
        self._fill_up(parts, min(self.floor, len(labels) // clients))
        return [np.sort(np.array(part, dtype=np.int64)) for part in parts]

    @staticmethod
    def _fill_up(parts: list[list[int]], floor: int) -> None:
        for part in parts:
            while len(part) < floor:
                part.append(max(parts, key=len).pop())


def deal_out(text: str, labels: IntArray, clients: int, rng: np.random.Generator) -> list[IntArray]:
    """Partition ``labels`` by the specification ``text`` and check that nothing was lost.

    Raises:
        InputError: more clients than images, or a partition that loses, repeats or withholds images.
    """
    if clients > len(labels):
        raise InputError(
            f"clients {clients} is more than the {len(labels)} training images: each client needs one at least"
        )
    partition: Partition = create("partition", text)
    parts = partition.deal(labels, clients, rng)
    served = len(parts) == clients and min(map(len, parts)) > 0
    if not served or not np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels))):
        raise InputError(f"partition '{text}' lost or repeated images, or left a client without any")
    return parts
