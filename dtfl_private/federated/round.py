"""One round of DTFL: the map of the project.

schedule -> (client half -> messages -> server half) per client -> join -> average -> evaluate -> record
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dtfl_private.defense import Remark
from dtfl_private.errors import NonFiniteLossError
from dtfl_private.federated.aggregate import WeightedAverage
from dtfl_private.federated.budget import BudgetSettings, spent_clients
from dtfl_private.federated.optimizers import PlateauSettings, PlateauState, decay_on_plateau
from dtfl_private.federated.schedule import (
    RoundPlan,
    ScheduleSettings,
    ScheduleState,
    planned_macs,
    schedule_round,
)
from dtfl_private.federated.worker import ClientResult, ClientTask, Evaluation, GlobalWeights
from dtfl_private.messages import State
from dtfl_private.privacy.disclosure import Disclosure, disclosures
from dtfl_private.privacy.ledger import Ledger, charge


@dataclass(frozen=True, kw_only=True)
class FederatedState:
    """All that one round hands to the next; together with the settings it determines the rest of the run.

    ``ledgers`` holds what each client has spent of its privacy, ``memories`` what its defenses keep for its next round;
    clients that have neither are not in them.
    """

    round: int
    weights: GlobalWeights
    schedule: ScheduleState
    plateau: PlateauState
    ledgers: Mapping[int, Ledger] = field(default_factory=dict)
    memories: Mapping[int, State] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RoundSettings:
    """All that a round depends on but its state."""

    schedule: ScheduleSettings
    plateau: PlateauSettings
    budget: BudgetSettings


class Executor(Protocol):
    """Runs the clients of a round somewhere: in this process, in worker processes, on a cluster."""

    def train(self, tasks: Sequence[ClientTask], weights: GlobalWeights) -> Iterator[ClientResult]:
        """Yield the results in the order of the tasks."""
        ...

    def evaluate(self, model: State) -> Evaluation:
        """Judge a model on the whole test set."""
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


class Dtfl:
    """DTFL (arXiv 2312.05642): dynamic tiers, local losses, server halves trained in parallel.

    Time model: T_k = max(T_c + T_com, T_s + T_com), the server half queueing when the server is busy; the round lasts
    until the last participant is done (dtfl section 3).
    """

    def run_round(
        self, state: FederatedState, settings: RoundSettings, executor: Executor, listener: RoundListener
    ) -> tuple[FederatedState, RoundOutcome]:
        """Return the state after one more round, and the round's figures."""
        number = state.round + 1
        retired = spent_clients(state.ledgers, settings.budget)
        schedule, plan = schedule_round(state.schedule, settings.schedule, number, retired)
        listener.planned(plan)

        progress = _Sums(state)
        for result in executor.train(tasks_of(plan, state), state.weights):
            progress.add(result)
            listener.trained(result.client)

        weights = progress.average()
        judged = executor.evaluate(weights.model)
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
            local_loss=progress.local_loss,
            server_loss=progress.server_loss,
            lr=state.plateau.lr,
            traffic=progress.traffic,
            macs=planned_macs(plan, settings.schedule.table),
            privacy=disclosures(settings.budget.defense, progress.ledgers),
            remarks=progress.remarks,
            retired=sorted(retired),
        )
        plateau = state.plateau
        if outcome.server_loss is not None:
            plateau = decay_on_plateau(plateau, outcome.server_loss, settings.plateau)
        after = FederatedState(
            round=number,
            weights=weights,
            schedule=schedule,
            plateau=plateau,
            ledgers=progress.ledgers,
            memories=progress.memories,
        )
        return after, outcome


def tasks_of(plan: RoundPlan, state: FederatedState) -> list[ClientTask]:
    """Return the clients' parts of a scheduled round, in the plan's order."""
    return [
        ClientTask(
            client=client,
            round=plan.round,
            tier=tier,
            lr=state.plateau.lr,
            batches=batches,
            completes=not dropped,
            memory=state.memories.get(client, {}),
        )
        for client, tier, batches, dropped in zip(
            plan.clients_P.tolist(),
            plan.tiers_P.tolist(),
            plan.batches_P.tolist(),
            plan.dropped_P.tolist(),
            strict=True,
        )
    ]


class _Sums:
    """Running sums over a round's results: models over all clients, heads over the clients of a tier."""

    def __init__(self, state: FederatedState) -> None:
        self._before = state.weights
        self._model = WeightedAverage()
        self._heads = {tier: WeightedAverage() for tier in state.weights.heads}
        self.ledgers = dict(state.ledgers)
        self.memories = dict(state.memories)
        self.remarks: list[tuple[int, Remark]] = []
        self._examples = 0
        self._local_loss = 0.0
        self._server_loss = 0.0
        self.traffic = {"down_weights": 0, "up_weights": 0, "up_smashed": 0, "up_labels": 0}

    def add(self, result: ClientResult) -> None:
        for kind, sent in result.traffic.items():
            self.traffic[kind] += sent
        if result.guarantees:
            self.ledgers[result.client] = charge(self.ledgers.get(result.client, ()), result.guarantees)
        if result.memory:
            self.memories[result.client] = result.memory
        self.remarks += [(result.client, remark) for remark in result.remarks]
        if not result.model:
            return
        self._model.add(result.model, result.examples)
        self._heads[result.tier].add(result.head, result.examples)
        self._examples += result.examples
        self._local_loss += result.examples * result.local_loss
        self._server_loss += result.examples * result.server_loss

    def average(self) -> GlobalWeights:
        """Return the new global weights; what nobody trained stays as it was."""
        return GlobalWeights(
            model=self._model.result(self._before.model),
            heads={tier: self._heads[tier].result(head) for tier, head in self._before.heads.items()},
        )

    @property
    def local_loss(self) -> float | None:
        return self._local_loss / self._examples if self._examples else None

    @property
    def server_loss(self) -> float | None:
        return self._server_loss / self._examples if self._examples else None
