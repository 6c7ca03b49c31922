"""The actors of a run: they are started, told what all are told, and replaced when they die."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from dtfl_private.errors import WorkerError
from dtfl_private.plugins.own_objects import searched_first
from dtfl_private.runtime.executor_choice import RayChoice
from dtfl_private.runtime.ray_actor import Node, RayActor
from dtfl_private.runtime.ray_cluster import Cluster, end_actor, most_actors

log = logging.getLogger(__name__)

START_S = 60.0
"""How long all actors have to start; those that take longer, as their cores are taken, join when they can."""

FIRST_S = 300.0
"""How long the first of them has."""


@dataclass(frozen=True, kw_only=True)
class _Starting:
    """An actor that is told to begin. ``anew``: it has worked for another crew before."""

    actor: Any
    anew: bool


class Crew:
    """Actors of a cluster, one per core or share of a GPU; one that dies is replaced, as far as there is room.

    Args:
        cluster: where they are.
        choice: what of the cluster is used.
        tasks: how many there are at most at the same time; more actors would have nothing to do.

    Attributes:
        alive: the actors that are ready.
    """

    def __init__(self, cluster: Cluster, choice: RayChoice, tasks: int) -> None:
        self._cluster, self._ray, self._choice = cluster, cluster.ray, choice
        self._count = min(most_actors(cluster.ray, choice), tasks)
        # Nothing is started anew by Ray: a replacement must be told what all are told.
        options = {"num_cpus": 1, "num_gpus": choice.gpus or None, "max_restarts": 0, "max_task_retries": 0}
        self._kind = cluster.ray.remote(**options)(RayActor)
        self._starting: dict[Any, _Starting] = {}
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
        self._cluster.end_idle(but=self._choice.gpus)
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
            end_actor(self._ray, actor)  # it may only be out of reach
            log.warning("a Ray actor on %s died: what it was at is done again elsewhere", node.host)
            self._start_one()

    def stop(self) -> None:
        """Let the actors go: they wait for the next crew, or for the end of the connection."""
        actors = [*self.alive, *(starting.actor for starting in self._starting.values())]
        self._cluster.idle.extend((self._choice.gpus, actor) for actor in actors)
        self.alive, self._starting = [], {}

    def _start_one(self) -> None:
        anew = bool(self._cluster.idle)
        actor = self._cluster.idle.pop()[1] if anew else self._kind.remote()
        ready = actor.begin.remote(
            dict(searched_first()), bool(self._choice.gpus), version("dtfl-private"), *self._setup
        )
        self._starting[ready] = _Starting(actor=actor, anew=anew)

    def _take_in(self, seconds: float, count: int) -> None:
        """Wait so long for so many actors that start."""
        wanted = min(count, len(self._starting))
        ready, _ = self._ray.wait([*self._starting], num_returns=wanted, timeout=seconds, fetch_local=False)
        for one in ready:
            starting = self._starting.pop(one)
            node = answer(self._ray, one)
            if node is not None:
                self._nodes[starting.actor] = node
                self.alive.append(starting.actor)
            elif starting.anew:  # it died while it waited
                self._start_one()
            else:
                log.warning("a Ray actor died while it started")

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
