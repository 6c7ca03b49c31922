"""Clients in resident actors of a Ray cluster, with the same result as in one process."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from dtfl_private.errors import WorkerError
from dtfl_private.protocol.messages import State
from dtfl_private.runtime.carried_states import RESULT_STATES, TASK_STATES, with_tensors, without_tensors
from dtfl_private.runtime.evaluation import chunks_of, counts_of
from dtfl_private.runtime.executor_choice import RayChoice
from dtfl_private.runtime.named_weights import named
from dtfl_private.runtime.ray_actor import InStore, Node
from dtfl_private.runtime.ray_cluster import connected, in_store
from dtfl_private.runtime.ray_crew import Crew, answer
from dtfl_private.runtime.worker_pool import AHEAD_PER_WORKER, IMAGES, parts_of
from dtfl_private.training.state import GlobalWeights
from dtfl_private.training.tasks import ALL_TEST_IMAGES, ClientResult, ClientTask, Evaluation, ImageRange, total
from dtfl_private.training.worker import WorkerSetup

MOST_DEATHS = 3
"""A call at which so many actors died is not tried again: it is what they died of."""

CALLS_OF_ROUND = 8
"""Of each actor in a round, at least, where there are tasks enough: fewer would leave some of them without work at the
end; each costs two milliseconds."""

MOST_BYTES_OF_CALL = 2**23
"""Of the weights that the results of one call bring back, if it is of several: they wait for the average."""


@dataclass(kw_only=True)
class _Call:
    """A call of an actor that is under way. ``deaths``: how many actors have died at it."""

    method: str
    arguments: Sequence[Any]
    actor: Any = field(default=None)
    reference: Any = field(default=None)
    deaths: int = 0


class RayClients:
    """Actors with one CPU thread each, one per core or share of a GPU of a cluster; none belongs to a client.

    The setup is sent once, weights once a round: as objects in the cluster's store, of which each node keeps one copy.
    What an actor is at when it dies is done again by another one: a client's round depends on nothing but its task, the
    weights and named random streams, hence the result is the same.

    Args:
        setup: of the run.
        choice: which cluster, and what of it.
        participants: clients of a round at most; more actors would have nothing to do.

    Raises:
        InputError: Ray is not installed, there is no such cluster, it has no such GPUs, or a part of the setup cannot
            be sent.
    """

    def __init__(self, setup: WorkerSetup, choice: RayChoice, participants: int) -> None:
        with ExitStack() as stack:
            cluster = stack.enter_context(connected(choice))
            self._ray = cluster.ray
            self._crew = Crew(cluster, choice, participants)
            stack.callback(self._crew.stop)
            self._setup = _sent(self._ray, setup)
            self._stack = stack.pop_all()
        self._counts = counts_of(setup)
        self._number = 0
        self._weights: InStore

    def start(self) -> None:
        """Start the actors, and wait until they have all they need.

        Raises:
            InputError: they do not find what they were sent.
            WorkerError: none could be started.
        """
        if not self._crew.alive:
            self._crew.start(*self._setup)

    @property
    def nodes(self) -> Sequence[Node]:
        """Where the actors that are ready are."""
        return self._crew.nodes

    def train(self, tasks: Sequence[ClientTask], weights: GlobalWeights) -> Iterator[ClientResult]:
        """Yield the results in the order of the tasks."""
        yield from self.train_groups([[task] for task in tasks], weights)

    def train_groups(self, groups: Sequence[Sequence[ClientTask]], weights: GlobalWeights) -> Iterator[ClientResult]:
        """Yield the results of clients in the order of the groups, each of which is one actor's work."""
        stored = self._stored(named(weights))
        most = self._groups_of_call(len(groups), sum(tensor.nbytes for tensor in weights.model.values()))
        emptied = ([without_tensors(task, TASK_STATES) for task in group] for group in groups)
        calls = ((stored, several) for several in iter(lambda: list(islice(emptied, most)), []))
        for results in self._in_order("train", calls):
            for result in results:
                yield with_tensors(result, RESULT_STATES)

    def evaluate(self, model: State, images: ImageRange = ALL_TEST_IMAGES) -> Evaluation:
        """Judge a model on images: all of the test set, or those that are named."""
        stored = self._stored(model)
        return total(list(self._in_order("evaluate", ((stored, chunk) for chunk in chunks_of(images, self._counts)))))

    def logits(self, model: State, images: ImageRange = ALL_TEST_IMAGES) -> Tensor:
        """Return what a model says of these images, (N, classes), float64."""
        stored = self._stored(model)
        parts = self._in_order("logits", ((stored, chunk) for chunk in chunks_of(images, self._counts)))
        return torch.from_numpy(np.concatenate(list(parts)))

    def close(self) -> None:
        """Let the actors go, and end the connection unless it is kept; a task that is under way is abandoned."""
        self._stack.close()

    def _groups_of_call(self, groups: int, weight_bytes: int) -> int:
        """Return how many groups of clients an actor is given at a time."""
        even = groups // (CALLS_OF_ROUND * max(1, len(self._crew.alive)))
        return max(1, min(even, MOST_BYTES_OF_CALL // weight_bytes))

    def _stored(self, state: State) -> InStore:
        """Put tensors into the cluster's store; Ray forgets those before them as soon as nobody reads them."""
        self.start()
        self._number += 1
        data = safetensors.torch.save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()})
        self._weights = InStore(number=self._number, reference=self._ray.put(data))
        return self._weights

    def _in_order(self, method: str, arguments: Iterable[Sequence[Any]]) -> Iterator[Any]:
        """Yield the results of the actors' method in the order of its arguments, with few calls under way."""
        waiting: deque[_Call] = deque()
        for given in arguments:
            waiting.append(self._called(_Call(method=method, arguments=given), waiting))
            if len(waiting) >= AHEAD_PER_WORKER * len(self._crew.alive):
                yield self._answer(waiting)
        while waiting:
            yield self._answer(waiting)

    def _called(self, call: _Call, waiting: Iterable[_Call]) -> _Call:
        """Give a call to the actor that has the fewest to do."""
        self._crew.refresh()
        under_way = [one for one in waiting if one.reference is not None]
        _, busy = self._ready([one.reference for one in under_way])
        loads = [one.actor for one in under_way if one.reference in busy]
        call.actor = min(self._crew.alive, key=loads.count)
        call.reference = getattr(call.actor, call.method).remote(*call.arguments)
        return call

    def _ready(self, references: Sequence[Any]) -> tuple[set[Any], set[Any]]:
        if not references:
            return set(), set()
        ready, busy = self._ray.wait(list(references), num_returns=len(references), timeout=0, fetch_local=False)
        return set(ready), set(busy)

    def _answer(self, waiting: deque[_Call]) -> Any:
        """Return the result of the first call that waits; where its actor dies, another one does it again."""
        call = waiting.popleft()
        while (result := answer(self._ray, call.reference)) is None:
            call.deaths += 1
            self._crew.lose(call.actor)
            if call.deaths == MOST_DEATHS:
                raise WorkerError(
                    f"{MOST_DEATHS} Ray actors died one after the other at the same {_WORDS[call.method]}; a guess: "
                    "their nodes ran out of memory, or somebody ended them; go on with --resume"
                )
            self._called(call, waiting)
        return result


_WORDS = {"train": "clients", "evaluate": "test images", "logits": "test images"}


def _sent(ray: Any, setup: WorkerSetup) -> tuple[list[Any], list[Any]]:
    """Put a setup into the cluster's store, its images apart; Ray passes references on as they are inside lists."""
    images = {name: getattr(setup, name).numpy() for name in IMAGES}
    none: dict[str, Any] = dict.fromkeys(IMAGES, torch.empty(0))
    parts = list(parts_of(setup).items())
    return [in_store(ray, replace(setup, **none), parts)], [in_store(ray, images, parts)]
