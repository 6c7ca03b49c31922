"""A connection to a Ray cluster, and its actors: how many there may be, how they are started, why one could not be.

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
from importlib.metadata import version
from typing import Any

from dtfl_private.errors import InputError, WorkerError, shortened
from dtfl_private.plugins.own_objects import searched_first
from dtfl_private.runtime.executor_choice import ADDRESS, AUTO, LOCAL, OF_THIS_MACHINE, RayChoice
from dtfl_private.runtime.ray_actor import Node, RayActor

log = logging.getLogger(__name__)

CONNECT_S = 10.0
"""How long a machine that is named has to answer."""

START_S = 60.0
"""How long all actors have to start; those that take longer, as their cores are taken, join when they can."""

FIRST_S = 300.0
"""How long the first of them has."""


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


@contextmanager
def connected(choice: RayChoice) -> Iterator[Any]:
    """Yield the module ``ray``, connected to a cluster; a connection that the program had already is used and kept.

    Raises:
        InputError: Ray is not installed, there is no such cluster, or it has no such GPUs.
    """
    ray = require_ray()
    with nullcontext() if ray.is_initialized() else _own_connection(ray, choice):
        _require_same_cluster(ray, choice)
        yield ray


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
    return f"no connection to the cluster ({reason}): this machine must belong to it (`ray start --address=...`)"


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


class Crew:
    """Actors of a cluster, one per core or share of a GPU; one that dies is replaced, as far as there is room.

    Args:
        ray: the connected module.
        choice: what of the cluster is used.
        count: of actors.

    Attributes:
        alive: the actors that are ready.
    """

    def __init__(self, ray: Any, choice: RayChoice, count: int) -> None:
        self._ray, self._choice, self._count = ray, choice, count
        # Nothing is started anew by Ray: a replacement must be told what all are told.
        options = {"num_cpus": 1, "num_gpus": choice.gpus or None, "max_restarts": 0, "max_task_retries": 0}
        self._kind = ray.remote(**options)(RayActor)
        self._starting: dict[Any, Any] = {}
        self._nodes: dict[Any, Node] = {}
        self._setup: tuple[Any, ...] = ()
        self.alive: list[Any] = []

    @property
    def nodes(self) -> Sequence[Node]:
        """Where the actors that are ready are."""
        return [self._nodes[actor] for actor in self.alive]

    def start(self, *setup: Any) -> None:
        """Start the actors, and wait until they are ready; what is passed to the actors' ``begin`` is objects in Ray.

        Raises:
            InputError: an actor does not find what it was sent, or has another version of the toolkit.
            WorkerError: none could be started.
        """
        self._setup = setup
        for _ in range(self._count):
            self._start_one()
        self._take_in(START_S, self._count)
        if not self.alive and self._starting:
            self._take_in(FIRST_S, 1)
        if not self.alive and not self._starting:
            raise WorkerError(
                f"executor {self._choice}: all actors died while they started: Ray's logs say why, on their nodes in "
                "/tmp/ray/session_latest/logs"
            )
        if not self.alive:
            raise WorkerError(
                f"executor {self._choice}: no actor could start within {START_S + FIRST_S:.0f} s: the cluster's cores "
                "are taken (`ray status` says by whom)"
            )
        log.debug("%d of %d Ray actors are ready", len(self.alive), self._count)
        self._warn_of_differences()

    def refresh(self) -> None:
        """Take in actors that have started meanwhile; if none is alive, wait for one.

        Raises:
            WorkerError: all have died, and none could be started in their place.
        """
        if self._starting:
            self._take_in(0.0 if self.alive else FIRST_S, 1)
        if not self.alive:
            raise WorkerError(
                f"executor {self._choice}: all actors have died, and none could be started in their place; go on with "
                "--resume when the cluster has nodes again"
            )

    def lose(self, actor: Any) -> None:
        """Do without an actor that has died, and start another one in its place."""
        if actor in self.alive:
            self.alive.remove(actor)
            node = self._nodes.pop(actor)
            self._end(actor)  # it may only be out of reach
            log.warning("a Ray actor on %s died: what it was at is done again elsewhere", node.host)
            self._start_one()

    def stop(self) -> None:
        """End all actors, in the middle of a task if need be."""
        for actor in [*self.alive, *self._starting.values()]:
            self._end(actor)
        self.alive, self._starting = [], {}

    def _end(self, actor: Any) -> None:
        with contextlib.suppress(Exception):  # one that is dead already, or a cluster that is gone
            self._ray.kill(actor, no_restart=True)

    def _start_one(self) -> None:
        actor = self._kind.remote()
        ready = actor.begin.remote(
            dict(searched_first()), bool(self._choice.gpus), version("dtfl-private"), *self._setup
        )
        self._starting[ready] = actor

    def _take_in(self, seconds: float, count: int) -> None:
        """Wait so long for so many actors that start."""
        wanted = min(count, len(self._starting))
        ready, _ = self._ray.wait([*self._starting], num_returns=wanted, timeout=seconds, fetch_local=False)
        for one in ready:
            actor = self._starting.pop(one)
            node = answer(self._ray, one)
            if node is None:  # it died while it started
                log.warning("a Ray actor died while it started")
                continue
            self._nodes[actor] = node
            self.alive.append(actor)

    def _warn_of_differences(self) -> None:
        kinds = sorted({node.computes_by for node in self._nodes.values()})
        if len(kinds) > 1:
            log.warning(
                "the cluster's nodes differ (%s): the same run may end a little differently on others of them",
                "; ".join(kinds),
            )


def answer(ray: Any, reference: Any) -> Any:
    """Return the result of a call of an actor; None if the actor, or the result on its way, was lost.

    Raises:
        DtflError: or whatever else the call raised in the actor.
    """
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        log.debug("lost in the cluster: %s", error)
        return None


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
