"""A connection to a Ray cluster: how it is made, how many actors there may be, what is put into its store.

Ray moves objects between the machines of one cluster by pickle: whoever is in the cluster is trusted. Nothing of it
comes from a file. Ray is an extra and is imported here, when a cluster is asked for, and in `ray_actor`, inside actors.
"""

import contextlib
import logging
import os
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from dtfl_private.errors import InputError, shortened
from dtfl_private.runtime.executor_choice import ADDRESS, AUTO, LOCAL, OF_THIS_MACHINE, RayChoice

CONNECT_S = 10.0
"""How long a machine that is named has to answer."""


def require_ray() -> Any:
    """Return the module ``ray``.

    Raises:
        InputError: it is not installed.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "ray":
            raise
        raise InputError('executor ray needs Ray: pip install "dtfl-private[ray]"') from None
    # It warns of its own ways at every start; what stops it is raised.
    logging.getLogger("ray").setLevel(logging.ERROR)
    return ray


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A connection to a cluster.

    Attributes:
        ray: the module, connected.
        address: by which it was asked for; a head has several names.
        idle: actors that wait for the next crew, by the share of a GPU that each has.
    """

    ray: Any
    address: str = AUTO
    idle: list[tuple[float, Any]] = field(default_factory=list)

    def end_idle(self, *, but: float | None = None) -> None:
        """End the actors that wait, but for those that have this share of a GPU."""
        for share, actor in self.idle:
            if share != but:
                end_actor(self.ray, actor)
        self.idle[:] = [(share, actor) for share, actor in self.idle if share == but]


@contextmanager
def connected(choice: RayChoice) -> Iterator[Cluster]:
    """Be connected to a cluster; a connection that is kept, or that the program had before, is used.

    Raises:
        InputError: Ray is not installed, there is no such cluster, or it has no such GPUs.
    """
    if (before := _KEPT.get()) is not None:
        if choice.address != before.address:
            _require_same_cluster(before.ray, choice)
        yield before
        return
    ray = require_ray()
    if ray.is_initialized():
        _require_same_cluster(ray, choice)
    with nullcontext() if ray.is_initialized() else _own_connection(ray, choice):
        most_actors(ray, choice)  # rather no beginning than none to do the work
        cluster = Cluster(ray=ray, address=choice.address)
        try:
            yield cluster
        finally:
            cluster.end_idle()


@contextmanager
def kept(choice: RayChoice) -> Iterator[None]:
    """Be connected all the time, and let what computes in the block use the same actors: starting them takes seconds.

    Raises:
        InputError: as `connected` does.
    """
    with connected(choice) as cluster:
        token = _KEPT.set(cluster)
        try:
            yield
        finally:
            _KEPT.reset(token)


_KEPT: ContextVar[Cluster | None] = ContextVar("kept cluster", default=None)


def end_actor(ray: Any, actor: Any) -> None:
    """End an actor, in the middle of a task if need be."""
    with contextlib.suppress(Exception):  # one that is dead already, or a cluster that is gone
        ray.kill(actor, no_restart=True)


@contextmanager
def _own_connection(ray: Any, choice: RayChoice) -> Iterator[None]:
    """Be connected inside the block."""
    # Ray lets actors look for modules in the current folder first, which may be one that came from somebody else. What
    # it starts on this machine stays in that folder, so it must last.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as empty:
        try:
            with contextlib.chdir(empty):
                _connect(ray, choice)
            # It prints to standard output what becomes of its processes, whoever reads that; there is no public switch.
            ray._private.worker._worker_logs_enabled = False
            yield
        finally:
            ray.shutdown()
            ray._private.worker._worker_logs_enabled = True


def _connect(ray: Any, choice: RayChoice) -> None:
    """Connect to a cluster, or start one on this machine alone."""
    settings: dict[str, Any] = {"address": choice.address, "log_to_driver": False, "configure_logging": False}
    if choice.address == LOCAL:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        settings |= {"include_dashboard": False}
    elif (named := _named_address(choice)) is not None:
        _require_answer(named)
    try:
        ray.init(**settings)
    except Exception as error:  # Ray raises errors of many kinds, and of no common base
        raise InputError(f"executor {choice}: {_why_not(choice, error)}") from None


def _named_address(choice: RayChoice) -> str | None:
    """Return the address that the user names, also in Ray's own variable; None if there is none."""
    address = os.environ.get("RAY_ADDRESS", AUTO) if choice.address == AUTO else choice.address
    return None if address in OF_THIS_MACHINE else address


def _why_not(choice: RayChoice, error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    reason = f"{type(error).__name__}: {lines[0]}"
    if choice.address == AUTO and isinstance(error, ConnectionError):
        return (
            "this machine belongs to no running Ray cluster: begin one with `ray start --head`, or use "
            "ray:address=local for one of this machine alone"
        )
    if choice.address == LOCAL:
        return f"no cluster could be started on this machine ({reason})"
    return (
        f"no connection to the cluster ({reason}): this machine must belong to it (`ray start --address=...`), and "
        "needs its token, and RAY_AUTH_MODE=token, if it has one"
    )


def _require_answer(address: str) -> None:
    """Raise `InputError` if nobody listens at HOST:PORT: Ray itself would try for long, and then end this process."""
    if ADDRESS.fullmatch(address) is None:
        raise InputError(f"RAY_ADDRESS '{shortened(address)}' is refused: expected HOST:PORT")
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except OSError as error:
        raise InputError(
            f"executor ray: nobody answers at {address} ({error.strerror or error}): expected the address of the "
            "cluster's head, HOST:PORT, as `ray start --head` says it"
        ) from None


def _require_same_cluster(ray: Any, choice: RayChoice) -> None:
    """Raise `InputError` if this program is connected to another cluster than the one that is asked for."""
    there = ray.get_runtime_context().gcs_address
    if choice.address not in (AUTO, LOCAL, there):
        raise InputError(f"executor {choice}: this program is connected to another cluster already, {there}")


def most_actors(ray: Any, choice: RayChoice) -> int:
    """Return how many actors there may be: one per core or share of a GPU, at most as many as are asked for.

    Raises:
        InputError: it has none.
    """
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cores = sum(int(resources.get("CPU", 0)) for resources in alive)
    if cores < 1:
        raise InputError(f"executor {choice}: the cluster has no core to compute on: start nodes with --num-cpus")
    room = sum(min(int(node.get("CPU", 0)), _shares(node, choice.gpus)) for node in alive) if choice.gpus else cores
    if room < 1:
        gpus = sum(node.get("GPU", 0) for node in alive)
        raise InputError(
            f"executor {choice}: no node has a core and {choice.gpus:g} of a GPU (the cluster has {gpus:g} GPUs): "
            "leave gpus out, or start nodes with --num-gpus"
        )
    return min(room, choice.actors or room)


def _shares(resources: dict[str, float], share: float) -> int:
    # A thousandth more, as three shares of 0.33 may be a little more than one.
    return int(resources.get("GPU", 0)) * int(1 / share + 1e-3)


def in_store(ray: Any, thing: object, parts: Sequence[tuple[str, object]]) -> Any:
    """Put an object into the cluster's store, and return its reference.

    Args:
        ray: the connected module.
        thing: what is put there.
        parts: the parts of it that are the user's own, by what to call them in an error.

    Raises:
        InputError: it cannot be sent; the part is named.
    """
    try:
        return ray.put(thing)
    except Exception as error:  # whatever a class of the user's raises when it is written down
        name = next((name for name, part in parts if _cannot_be_put(ray, part)), "a part of this run")
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{name} cannot be sent to a Ray cluster ({type(error).__name__}: {reason}): define it in a .py file, or "
            "use --executor local"
        ) from None


def _cannot_be_put(ray: Any, part: object) -> bool:
    try:
        ray.put(part)
    except Exception:  # as above
        return True
    return False
