"""Partitions: pure functions from labels, or natural client ids, to one index array per client."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from dtfl_private.errors import InputError, shortened
from dtfl_private.plugins.own_objects import NOTHING_ALLOWED, Allowed, failures_named
from dtfl_private.plugins.registry import create
from dtfl_private.protocol.contracts import IntArray, Partition

# The draw divides by a sum of one value near alpha per client, which must not overflow.
MAX_ALPHA = 1e100

# Sizes spread over more orders of magnitude than any data set has images.
MAX_SIGMA = 10


@dataclass(frozen=True, kw_only=True)
class Iid:
    """Independent and identically distributed: a random deal in parts whose sizes differ by at most one."""

    def deal(
        self, labels: IntArray, clients: int, rng: np.random.Generator, client_ids: IntArray | None = None
    ) -> list[IntArray]:
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

    def deal(
        self, labels: IntArray, clients: int, rng: np.random.Generator, client_ids: IntArray | None = None
    ) -> list[IntArray]:
        """Return one sorted index array per client."""
        parts: list[list[int]] = [[] for _ in range(clients)]
        for label in np.unique(labels):
            members = rng.permutation(np.flatnonzero(labels == label))
            shares = rng.dirichlet(np.full(clients, self.alpha))
            ends = np.round(np.cumsum(shares)[:-1] * len(members)).astype(np.int64)
            for part, dealt in zip(parts, np.split(members, ends), strict=True):
                part.extend(dealt.tolist())
        _fill_up(parts, min(self.floor, len(labels) // clients))
        return [np.sort(np.array(part, dtype=np.int64)) for part in parts]


@dataclass(frozen=True)
class Quantity:
    """Quantity skew: a log-normal draw says how many images a client has, labels come as they are.

    Sizes are proportional to exp(sigma * g) with standard normal g; sigma = 0 is the even deal. A client with fewer
    than ``floor`` images gets the missing ones from the largest clients.
    """

    sigma: Annotated[float, Field(ge=0, le=MAX_SIGMA)] = 1.0
    floor: Annotated[int, Field(ge=1)] = 2

    def deal(
        self, labels: IntArray, clients: int, rng: np.random.Generator, client_ids: IntArray | None = None
    ) -> list[IntArray]:
        """Return one sorted index array per client."""
        weights = np.exp(self.sigma * rng.standard_normal(clients))
        ends = np.round(np.cumsum(weights / weights.sum())[:-1] * len(labels)).astype(np.int64)
        parts = [part.tolist() for part in np.split(rng.permutation(len(labels)), ends)]
        _fill_up(parts, min(self.floor, len(labels) // clients))
        return [np.sort(np.array(part, dtype=np.int64)) for part in parts]


@dataclass(frozen=True)
class Shards:
    """Pathological label skew: n shards of the images in label order to each client (McMahan et al. 2017, 1602.05629).

    The images of a class come in random order, shards differ in size by one at most, and each client gets n shards at
    random. With n = 2 most clients see two classes.
    """

    n: Annotated[int, Field(ge=1)] = 2

    def deal(
        self, labels: IntArray, clients: int, rng: np.random.Generator, client_ids: IntArray | None = None
    ) -> list[IntArray]:
        """Return one sorted index array per client; raise `InputError` if there are fewer images than shards."""
        if clients * self.n > len(labels):
            raise InputError(
                f"partition shards:n={self.n} cuts {clients * self.n} shards for {clients} clients, more than the "
                f"{len(labels)} training images: use fewer clients or a smaller n"
            )
        shuffled = rng.permutation(len(labels))
        by_label = shuffled[np.argsort(labels[shuffled], kind="stable")]
        shards = np.array_split(by_label, clients * self.n)
        order = rng.permutation(len(shards)).reshape(clients, self.n)
        return [np.sort(np.concatenate([shards[shard] for shard in own])) for own in order]


@dataclass(frozen=True)
class Natural:
    """By the owner that the data name for each image: writer, camera, hospital.

    With as many clients as owners, client k is the k-th owner in order of id. With fewer, owners in random order are
    each given to the client that has the fewest images so far.
    """

    def deal(
        self, labels: IntArray, clients: int, rng: np.random.Generator, client_ids: IntArray | None = None
    ) -> list[IntArray]:
        """Return one sorted index array per client; raise `InputError` without ids, or with fewer than clients."""
        if client_ids is None:
            raise InputError(
                "partition natural needs a data set that says whose each image is, as image-folder:by_client=true does"
            )
        owners, images = np.unique(client_ids, return_counts=True)
        if clients > len(owners):
            raise InputError(f"clients {clients} is more than the {len(owners)} owners that the data set names")
        client_of = np.arange(len(owners))
        if clients < len(owners):
            sizes = np.zeros(clients, dtype=np.int64)
            for owner in rng.permutation(len(owners)):
                client_of[owner] = sizes.argmin()
                sizes[client_of[owner]] += images[owner]
        of_image = client_of[np.searchsorted(owners, client_ids)]
        return [np.flatnonzero(of_image == client) for client in range(clients)]


def deal_out(
    text: str,
    labels: IntArray,
    clients: int,
    rng: np.random.Generator,
    client_ids: IntArray | None = None,
    *,
    allowed: Allowed = NOTHING_ALLOWED,
) -> list[IntArray]:
    """Partition ``labels`` by the specification ``text`` and check that nothing was lost.

    Args:
        text: ``NAME[:key=value,...]``.
        labels: labels of the N training images.
        clients: number of clients.
        rng: where chance comes from.
        client_ids: (N,) to whom each image naturally belongs, where the data say so.
        allowed: what ``text`` may name by its module.

    Raises:
        InputError: more clients than images, or a partition that loses, repeats or withholds images.
    """
    if clients > len(labels):
        raise InputError(
            f"clients {clients} is more than the {len(labels)} training images: each client needs one at least"
        )
    partition: Partition = create("partition", text, allowed=allowed)
    with failures_named(f"partition '{shortened(text)}' failed"):
        parts = partition.deal(labels, clients, rng, client_ids)
        served = len(parts) == clients and min(map(len, parts)) > 0
        whole = served and np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels)))
    if not whole:
        raise InputError(f"partition '{text}' lost or repeated images, or left a client without any")
    return parts


def class_counts(labels_N: IntArray, parts: Sequence[IntArray], classes: int) -> IntArray:
    """Return how many images of each class each client holds, (clients, classes)."""
    return np.stack([np.bincount(labels_N[part], minlength=classes) for part in parts])


def _fill_up(parts: list[list[int]], floor: int) -> None:
    """Give every part ``floor`` items, taking the missing ones from the largest parts, one at a time."""
    for part in parts:
        while len(part) < floor:
            part.append(max(parts, key=len).pop())
