"""One round: the map of the project, and the frame of every training method.

schedule -> (client half -> messages -> server half) per client -> join -> average -> evaluate -> record

That is DTFL's; what another method does otherwise stands in its own file below ``methods``.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from torch import Tensor

from dtfl_private.data.registration import NO_TRAFFIC
from dtfl_private.errors import InputError, NonFiniteLossError
from dtfl_private.models.norms import Norm
from dtfl_private.numerics import Numerics
from dtfl_private.privacy.disclosure import EVERYTHING, Disclosure, disclosures
from dtfl_private.privacy.ledger import Ledger, charge
from dtfl_private.privacy.run_budget import BudgetSettings, spent_clients
from dtfl_private.protection.base import Place
from dtfl_private.protection.client_context import Remark
from dtfl_private.protocol.guarantees import Protected
from dtfl_private.protocol.messages import State, below
from dtfl_private.simulation.costs.table import TierCost, TierTable
from dtfl_private.simulation.round_plan import RoundPlan, planned_macs
from dtfl_private.simulation.schedule import ScheduleSettings, ScheduleState, Selection, Uniform
from dtfl_private.simulation.scheduling import learn_progress, schedule_round
from dtfl_private.simulation.timing import Overlapping, Timing
from dtfl_private.training.aggregate import WeightedAverage
from dtfl_private.training.optimizers import PlateauSettings, PlateauState, decay_on_plateau
from dtfl_private.training.worker import (
    ClientResult,
    ClientTask,
    Evaluation,
    GlobalWeights,
    LocalWork,
    WorkerSetup,
)


@dataclass(frozen=True, kw_only=True)
class FederatedState:
    """All that one round hands to the next; together with the settings it determines the rest of the run.

    ``ledgers`` holds what each client has spent of its privacy, ``memories`` what its defenses keep for its next round;
    clients that have neither are not in them. ``extras`` are the method's own tensors, such as a server optimiser's.
    """

    round: int
    weights: GlobalWeights
    schedule: ScheduleState
    plateau: PlateauState
    ledgers: Mapping[int, Ledger] = field(default_factory=dict)
    memories: Mapping[int, State] = field(default_factory=dict)
    extras: State = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RoundSettings:
    """All that a round depends on but its state.

    ``registration``: bytes sent before round 1, counted in it; ``norms``: kinds of norm layers of the network.
    """

    schedule: ScheduleSettings
    plateau: PlateauSettings
    budget: BudgetSettings
    registration: Mapping[str, int] = field(default_factory=lambda: NO_TRAFFIC)
    norms: frozenset[Norm] = frozenset()


class Executor(Protocol):
    """Runs the clients of a round somewhere: in this process, in worker processes, on a cluster."""

    def train(self, tasks: Sequence[ClientTask], weights: GlobalWeights) -> Iterator[ClientResult]:
        """Yield the results in the order of the tasks."""
        ...

    def train_together(self, tasks: Sequence[ClientTask], weights: GlobalWeights) -> Iterator[ClientResult]:
        """Yield the results of clients that share one server network, in the order of the tasks."""
        ...

    def evaluate(self, model: State, share: tuple[int, int] = (0, 1)) -> Evaluation:
        """Judge a model on the test set, or on its images i, i + n, i + 2n, ... with ``share=(i, n)``."""
        ...


class RoundListener(Protocol):
    """Hears how a round proceeds, for a progress display."""

    def planned(self, plan: RoundPlan) -> None:
        """Called when the round is scheduled."""
        ...

    def trained(self, client: int) -> None:
        """Called when a client's round is done."""
        ...


@dataclass(frozen=True, kw_only=True)
class RoundOutcome:
    """The figures of a finished round.

    Losses are means over the participants that completed it, weighted by their examples; None when nobody did.
    ``privacy`` says what has been disclosed since the start, by the client that is worst off; ``remarks`` are the
    client-side guards'; ``retired`` clients had no budget left for this round.
    """

    plan: RoundPlan
    virtual_time_s: float
    test_accuracy: float
    test_loss: float
    local_loss: float | None
    server_loss: float | None
    lr: float
    traffic: Mapping[str, int]
    macs: Mapping[str, int]
    privacy: Sequence[Disclosure]
    remarks: Sequence[tuple[int, Remark]]
    retired: Sequence[int]


Places = frozenset[Place]
EVERYWHERE: Places = frozenset({"input", "labels", "activations", "loss", "training", "smashed", "weights", "download"})


class Method(ABC):
    """A training method (group ``dtfl_private.methods``): what its workers do, what it costs, what waits for what.

    A subclass is a frozen dataclass whose fields are the user's settings. It holds no state: what must last from round
    to round is in `FederatedState`, the method's own tensors in ``extras``; those of a client k are named
    ``client/k/...`` and travel with its task and result.

    Attributes:
        places: where defenses can act in it.
        sends: what leaves the clients.
        tiered: whether a scheduler names each client's tier; otherwise the method's table has one row.
        cuts: whether the network is cut between client and server.
        full_tier: whether it has, beside cuts, a tier in which a client keeps the whole network.
        has_heads: whether the client half has an auxiliary head.
        local_loss: whether client halves train by a local loss alone, and send their smashed data: what attacks know.
        pooled: whether all images are at one place, which is then the one participant and always there.
        also_sent: kinds of bytes beside those that every method has.
        timing: the time model.
        selection: who takes part in a round.
    """

    places: ClassVar[Places]
    sends: ClassVar[tuple[Protected, ...]] = EVERYTHING
    tiered: ClassVar[bool] = False
    cuts: ClassVar[bool] = True
    full_tier: ClassVar[bool] = False
    has_heads: ClassVar[bool] = False
    local_loss: ClassVar[bool] = False
    pooled: ClassVar[bool] = False
    also_sent: ClassVar[tuple[str, ...]] = ()

    @property
    def timing(self) -> Timing:
        """The time model; by default DTFL's."""
        return Overlapping()

    @property
    def selection(self) -> Selection:
        """Who takes part in a round; by default a uniform sample."""
        return Uniform()

    @abstractmethod
    def work(self) -> LocalWork:
        """Return what workers do for it."""

    @abstractmethod
    def costs(self, network: TierTable, classes: int, numerics: Numerics) -> TierTable:
        """Return the method's cost table from the network's own, which has a row for each tier.

        Raises:
            InputError: the network has no such cut.
        """

    def initial_extras(self, setup: WorkerSetup) -> State:
        """Return the method's own tensors before the first round; their names and shapes last for the run."""
        return {}

    def train(self, plan: RoundPlan, state: FederatedState, executor: Executor) -> Iterator[ClientResult]:
        """Yield the results of the participants, in the order in which they are to be added up."""
        return executor.train(tasks_of(plan, state), state.weights)

    def combine(self, state: FederatedState, sums: "Sums") -> tuple[GlobalWeights, State]:
        """Return the new global weights and the method's own tensors; by default the average of the clients' models."""
        return sums.average(), {**state.extras, **sums.extras}

    def measured(
        self, plan: RoundPlan, state: FederatedState, weights: GlobalWeights, sums: "Sums", executor: Executor
    ) -> GlobalWeights:
        """Return the new global weights with batch norm's statistics that belong to them; by default as they are.

        An average of the clients' models has the average of their statistics. A method whose server goes elsewhere has
        its clients measure them, and counts in ``costs`` and ``sums`` what that takes.
        """
        return weights

    def judge(self, executor: Executor, weights: GlobalWeights, extras: State) -> Evaluation:
        """Return how the trained model does on the whole test set."""
        return executor.evaluate(weights.model)

    def run_round(
        self, state: FederatedState, settings: RoundSettings, executor: Executor, listener: RoundListener
    ) -> tuple[FederatedState, RoundOutcome]:
        """Return the state after one more round, and the round's figures."""
        number = state.round + 1
        retired = spent_clients(state.ledgers, settings.budget)
        schedule, plan = schedule_round(state.schedule, settings.schedule, number, retired)
        listener.planned(plan)

        sums = Sums(state, self.also_sent, settings.registration if number == 1 else NO_TRAFFIC)
        for result in self.train(plan, state, executor):
            sums.add(result)
            listener.trained(result.client)

        weights, extras = self.combine(state, sums)
        weights = self.measured(plan, state, weights, sums, executor)
        judged = self.judge(executor, weights, extras)
        if not math.isfinite(judged.loss_sum):
            raise NonFiniteLossError(
                f"the test loss of the averaged model became {judged.loss_sum} in round {number}: "
                "start again with a lower --lr"
            )
        outcome = RoundOutcome(
            plan=plan,
            virtual_time_s=schedule.clock.now_s,
            test_accuracy=judged.correct / judged.images,
            test_loss=judged.loss_sum / judged.images,
            local_loss=sums.local_loss,
            server_loss=sums.server_loss,
            lr=state.plateau.lr,
            traffic=sums.traffic,
            macs=planned_macs(plan, settings.schedule.table),
            privacy=disclosures(
                settings.budget.defense,
                sums.ledgers,
                sends=self.sends,
                full_tier=self.full_tier,
                statistics=settings.budget.statistics,
            ),
            remarks=sums.remarks,
            retired=sorted(retired),
        )
        loss = sums.whole_loss
        plateau = state.plateau if loss is None else decay_on_plateau(state.plateau, loss, settings.plateau)
        after = FederatedState(
            round=number,
            weights=weights,
            schedule=learn_progress(schedule, plan, settings.schedule, loss),
            plateau=plateau,
            ledgers=sums.ledgers,
            memories=sums.memories,
            extras=extras,
        )
        return after, outcome


def only_tier(network: TierTable, cut: int) -> TierCost:
    """Return the row of the one tier that a method without tiers cuts at.

    Raises:
        InputError: the network has no such tier.
    """
    for row in network.rows:
        if row.tier == cut:
            return row
    raise InputError(f"cut={cut} is out of range: this network can be cut after module {network.tiers_M.tolist()}")


def tasks_of(plan: RoundPlan, state: FederatedState) -> list[ClientTask]:
    """Return the tasks of a plan's participants, ascending by client."""
    return [
        ClientTask(
            client=client,
            round=plan.round,
            tier=tier,
            lr=state.plateau.lr,
            batches=batches,
            sent_batches=sent,
            completes=not dropped,
            memory=state.memories.get(client, {}),
            extras=below(f"client/{client}/", state.extras),
        )
        for client, tier, batches, sent, dropped in zip(
            plan.clients_P.tolist(),
            plan.tiers_P.tolist(),
            plan.batches_P.tolist(),
            plan.sent_batches_P.tolist(),
            plan.dropped_P.tolist(),
            strict=True,
        )
    ]


class Sums:
    """Running sums over a round's results: models over all clients, heads over the clients of a tier.

    ``latest`` is the model of the client that completed the round last, ``completed`` are all who did;
    ``registration`` is what was sent before the round, in bytes.
    """

    def __init__(
        self, state: FederatedState, also_sent: Sequence[str], registration: Mapping[str, int] = NO_TRAFFIC
    ) -> None:
        self._before = state.weights
        self._model = WeightedAverage()
        self._heads = {tier: WeightedAverage() for tier in state.weights.heads}
        self.ledgers = dict(state.ledgers)
        self.memories = dict(state.memories)
        self.extras: dict[str, Tensor] = {}
        self.remarks: list[tuple[int, Remark]] = []
        self.latest: State = {}
        self.completed: list[int] = []
        self._losses = {"local_loss": _Mean(), "server_loss": _Mean()}
        self._whole_loss = _Mean()
        kinds = ("down_weights", "up_weights", "up_smashed", "up_labels", *also_sent)
        self.traffic = {**dict.fromkeys(kinds, 0), **registration}

    def add(self, result: ClientResult) -> None:
        """Add one client's result."""
        self.note(result)
        if not result.model:
            return
        self.latest = result.model
        self.completed.append(result.client)
        self._model.add(result.model, result.examples)
        if result.head:
            self._heads[result.tier].add(result.head, result.examples)
        for side, mean in self._losses.items():
            mean.add(getattr(result, side), result.examples)
        self._whole_loss.add(result.local_loss if result.server_loss is None else result.server_loss, result.examples)

    def note(self, result: ClientResult) -> None:
        """Add what a result says beside its model: bytes, what its defenses did, what the method keeps."""
        for kind, sent in result.traffic.items():
            self.traffic[kind] += sent
        if result.guarantees:
            self.ledgers[result.client] = charge(self.ledgers.get(result.client, ()), result.guarantees)
        if result.memory:
            self.memories[result.client] = result.memory
        self.extras |= {f"client/{result.client}/{name}": tensor for name, tensor in result.extras.items()}
        self.remarks += [(result.client, remark) for remark in result.remarks]

    def average(self) -> GlobalWeights:
        """Return the new global weights; what nobody trained stays as it was."""
        return GlobalWeights(
            model=self._model.result(self._before.model),
            heads={tier: self._heads[tier].result(head) for tier, head in self._before.heads.items()},
        )

    @property
    def whole_loss(self) -> float | None:
        """Mean loss of the whole network, weighted by examples: the server's, or a client's that holds all of it."""
        return self._whole_loss.value

    @property
    def local_loss(self) -> float | None:
        """Mean local loss, weighted by examples; None if there is none."""
        return self._losses["local_loss"].value

    @property
    def server_loss(self) -> float | None:
        """Mean loss of the server, weighted by examples; None if there is none."""
        return self._losses["server_loss"].value


class _Mean:
    """Mean of the values that are there, weighted by examples."""

    def __init__(self) -> None:
        self._sum, self._examples = 0.0, 0

    def add(self, value: float | None, examples: int) -> None:
        if value is not None:
            self._sum += examples * value
            self._examples += examples

    @property
    def value(self) -> float | None:
        return self._sum / self._examples if self._examples else None
