"""DTFL with one server network for all clients, or a few: it trains on everybody's messages as they arrive."""

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from pydantic import Field

from dtfl_private.models.copies import copied
from dtfl_private.models.cutting.staged import split
from dtfl_private.numerics import Numerics
from dtfl_private.randomness import Lasting
from dtfl_private.simulation.costs.table import TierTable
from dtfl_private.simulation.round_plan import RoundPlan
from dtfl_private.simulation.timing import SharedServer, Timing
from dtfl_private.training.executor import Executor
from dtfl_private.training.method import EVERYWHERE, Method, Places
from dtfl_private.training.methods.full import FullModelWork, whole_network
from dtfl_private.training.methods.tiered import BESIDE_FULL
from dtfl_private.training.participant import Participant, server_half
from dtfl_private.training.state import FederatedState, GlobalWeights
from dtfl_private.training.tasks import ClientResult, ClientTask, taking_turns, whose_turn
from dtfl_private.training.worker import LocalWork, Worker, honest_download


@dataclass(frozen=True, kw_only=True)
class SharedServerWork:
    """Client halves by a local loss, and one server network on the messages of them all.

    A message enters behind its client's cut; modules before it, which that client holds itself, take no step on it. A
    client in the tier of the whole network trains alone. Each step is on ``merge`` messages in a row.
    """

    merge: int = 1

    def train(self, worker: Worker, tasks: Sequence[ClientTask], weights: GlobalWeights) -> list[ClientResult]:
        """Return the results of clients that share the server network, or of one that holds the whole network."""
        if tasks[0].tier == len(worker.model):
            return FullModelWork().train(worker, tasks, weights)
        first = min(tasks, key=lambda task: task.tier)
        # Several clients are under way at once: each has modules of its own.
        clients = [
            Participant(
                worker,
                task,
                copied(split(worker.model, task.tier)[0]),
                copied(worker.heads[task.tier]),
                honest_download(worker.setup, task, weights),
            )
            for task in tasks
        ]
        server = server_half(worker.setup, first, split(worker.model, first.tier)[1], weights)
        # What layers draw for a client does not depend on the others' turns: it can be replayed alone.
        draws = [Lasting(worker.setup.seed, "layers", task.client, task.round) for task in tasks]
        messages = [client.messages() for client in clients]
        waiting = 0
        for place in whose_turn(tasks):
            with draws[place].going_on():
                message = next(messages[place], None)
                if message is not None:  # of a client that takes part
                    server.take_in(message, clients[place].defense)
                    waiting += 1
            if waiting == self.merge:
                server.step()
                waiting = 0
        server.step()
        for draw, rest in zip(draws, messages, strict=True):
            with draw.going_on():
                deque(rest, maxlen=0)  # what a client trains on after its last message
        return [client.result(server) for client in clients]


@dataclass(frozen=True, kw_only=True)
class DtflShared(Method):
    """DTFL (arXiv 2312.05642) with one server network that trains on the messages of all clients (ours).

    Where DTFL's server has a half for each client, which sees that client alone, and averages them, here one network
    takes the batches in the order of their arrival, each from the module behind its client's cut on. The new module i
    is the average of the copies of the clients that hold it (tier >= i) and of the server's, whose weight is the
    examples of all others. One server network for several clients is that of SplitFed v2 (Thapa et al., AAAI 2022) and
    of the single server model of Han et al. (FL-ICML workshop 2021), there with one cut.

    ``full`` adds the tier of `dtfl-full`, in which a client keeps the whole network. ``replicas`` networks share the
    clients out, and are averaged: as many as there are participants, and it is DTFL again. With ``merge`` a network
    takes each step on so many messages, whose gradients as many server workers compute side by side.

    Time model: that of DTFL, but that a server network takes one batch after the other, those of all its clients in
    the order of arrival, or ``merge`` of them when the last is there; it keeps as many server workers busy.
    """

    full: bool = True
    replicas: Annotated[int, Field(ge=1)] = 1
    merge: Annotated[int, Field(ge=1)] = 1
    token_labels: ClassVar[bool] = True
    tiered: ClassVar[bool] = True
    has_heads: ClassVar[bool] = True

    @property
    def places(self) -> Places:  # type: ignore[override]  # of the base class a constant, here it depends on ``full``
        """Where defenses can act: without labels where a client may keep the whole network."""
        return BESIDE_FULL if self.full else EVERYWHERE

    @property
    def full_tier(self) -> bool:
        """Whether clients may keep the whole network."""
        return self.full

    @property
    def timing(self) -> Timing:
        """DTFL's, with batches that queue for the server networks."""
        return SharedServer(replicas=self.replicas, merge=self.merge)

    def work(self) -> LocalWork:
        """Return the work of clients that share a server network."""
        return SharedServerWork(merge=self.merge)

    def costs(self, network: TierTable, classes: int, numerics: Numerics) -> TierTable:
        """Return the network's own table, with ``full`` and a row for a client that holds all of it."""
        return replace(network, rows=(*network.rows, whole_network(network, classes))) if self.full else network

    def train(self, plan: RoundPlan, state: FederatedState, executor: Executor) -> Iterator[ClientResult]:
        """Yield the results, network by network; clients take turns in the plan's order."""
        alone: list[list[ClientTask]] = []
        groups: defaultdict[int, list[ClientTask]] = defaultdict(list)
        for place, task in enumerate(taking_turns(self.tasks(plan, state), plan.order)):
            if task.turns:
                groups[int(plan.replica_P[place])].append(task)
            else:  # it sends nothing: it has the whole network, or drops out before
                alone.append([task])
        return executor.train_groups([*alone, *(groups[network] for network in sorted(groups))], state.weights)
