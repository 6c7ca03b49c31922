"""FedAvg with an adaptive optimiser at the server, whose state lives as long as the run."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.models.statistics import PooledStatistics, measure_statistics
from dtfl_private.numerics import Numerics
from dtfl_private.protocol.messages import ModelDownload, State, WeightUpdate, below
from dtfl_private.simulation.costs.table import TierTable
from dtfl_private.simulation.round_plan import RoundPlan
from dtfl_private.training.executor import Executor
from dtfl_private.training.methods.full import FullModelMethod, FullModelWork
from dtfl_private.training.round_sums import Sums
from dtfl_private.training.state import FederatedState, GlobalWeights
from dtfl_private.training.tasks import ClientResult, ClientTask, tasks_of
from dtfl_private.training.worker import LocalWork, Worker, WorkerSetup, require_finite

Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True)
class TrainOrMeasureWork:
    """Plain local training, or a forward pass over the client's records for batch norm's statistics of new weights."""

    def train(self, worker: Worker, tasks: Sequence[ClientTask], weights: GlobalWeights) -> list[ClientResult]:
        """Return the results, one client after the other."""
        results = []
        for task in tasks:
            if task.measures:
                results.append(_measure_one(worker, task, weights))
            else:
                results += FullModelWork().train(worker, [task], weights)
        return results


def _measure_one(worker: Worker, task: ClientTask, weights: GlobalWeights) -> ClientResult:
    """Return a client's statistics of these weights, over its records once, in the batches of the round's first epoch.

    Download and statistics pass the client's defenses like those of its training. What guards remember is that of the
    training, so that they compare the downloads of whole rounds.
    """
    download = ModelDownload(client=task.client, round=task.round, tier=task.tier, weights=weights.model, head={})
    at = worker.client_round(task, download)
    defense = worker.defense_of(task)
    remarks = defense.inspect(download, at)
    traffic, statistics = {"down_weights": download.weight_bytes, "up_weights": 0}, {}
    if not any(remark.refuses for remark in remarks):
        measured = _measured_once(worker, task, weights)
        update = defense.protect_update(
            WeightUpdate(
                client=task.client,
                round=task.round,
                tier=task.tier,
                examples=at.records,
                weights=measured,
                head={},
            ),
            at,
        )
        require_finite(sum(float(t.abs().max()) for t in update.weights.values()), task, "largest batch norm statistic")
        worker.observe(update)
        traffic["up_weights"], statistics = update.weight_bytes, dict(update.weights)
    return ClientResult(
        client=task.client,
        tier=task.tier,
        examples=at.records if statistics else 0,
        model=statistics,
        head={},
        local_loss=None,
        server_loss=None,
        traffic=traffic,
        remarks=remarks,
    )


def _measured_once(worker: Worker, task: ClientTask, weights: GlobalWeights) -> State:
    """Return the statistics of these weights over a client's records, each once."""
    worker.model.load_state_dict(weights.model)
    data = worker.data(task)
    once = data.batches[: len(data.batches) // worker.setup.local_epochs]
    return measure_statistics(worker.model, (data.fetch(records)[0] for records in once), worker.setup.numerics)


@dataclass(frozen=True, kw_only=True)
class AdaptiveServer(FullModelMethod):
    """The common part of Reddi et al. (ICLR 2021), algorithm 2.

    With the weighted mean D of the clients' changes as the step that the round proposes: m <- beta1 m + (1 - beta1) D,
    v by the method's rule, w <- w + server_lr m / (sqrt(v) + tau). Buffers have no gradient and are averaged.
    ``extras`` holds ``m/NAME`` and ``v/NAME`` of every parameter.

    Batch norm (the paper has group norm): the average of the clients' running statistics belongs to the average of
    their weights, where the server does not go. So the round's participants get the new weights, run each of their
    images through them once, and send the mean and variance that every batch norm saw; pooled over all, these are the
    global model's. A network without running statistics needs no such pass, and there is none.

    Time model: that of FedAvg, then the pass: it begins when all are done, and takes a client the weights down, one
    forward pass and the statistics up. The round lasts until the slowest is done with it; that wait is not in T_k. The
    server's step costs no simulated time.
    """

    server_lr: Rate = 0.03
    beta1: Decay = 0.9
    beta2: Decay = 0.99
    tau: Positive = 1e-3

    def work(self) -> LocalWork:
        """Return plain local training, and the pass for batch norm's statistics."""
        return TrainOrMeasureWork()

    def costs(self, network: TierTable, classes: int, numerics: Numerics) -> TierTable:
        """Return the cost of the whole network on a client, and of the pass if the network has batch norm."""
        table = super().costs(network, classes, numerics)
        if not network.statistics_bytes:
            return table
        rows = [
            replace(row, statistics_macs=network.forward_macs, statistics_bytes=network.statistics_bytes)
            for row in table.rows
        ]
        return replace(table, rows=tuple(rows))

    @abstractmethod
    def second_moment(self, v: Tensor, square: Tensor) -> Tensor:
        """Return v after a round whose step has this square."""

    def initial_extras(self, setup: WorkerSetup) -> State:
        """Return m = 0 and v = tau^2."""
        extras: dict[str, Tensor] = {}
        for name, parameter in setup.model.named_parameters():
            extras[f"m/{name}"] = torch.zeros_like(parameter, requires_grad=False)
            extras[f"v/{name}"] = torch.full_like(parameter, self.tau**2, requires_grad=False)
        return extras

    def combine(self, state: FederatedState, sums: Sums) -> tuple[GlobalWeights, State]:
        """Return the weights after the server's step; those of before if nobody completed the round."""
        if not sums.latest:
            return state.weights, state.extras
        model = dict(sums.average().model)
        extras: dict[str, Tensor] = {}
        for name, m in below("m/", state.extras).items():
            before = state.weights.model[name]
            step = model[name] - before
            m = self.beta1 * m + (1 - self.beta1) * step
            v = self.second_moment(state.extras[f"v/{name}"], step.square())
            model[name] = before + self.server_lr * m / (v.sqrt() + self.tau)
            extras |= {f"m/{name}": m, f"v/{name}": v}
        return GlobalWeights(model=model, heads={}), extras

    def measured(
        self, plan: RoundPlan, state: FederatedState, weights: GlobalWeights, sums: Sums, executor: Executor
    ) -> GlobalWeights:
        """Return the new weights with the statistics that who completed the round measures of them."""
        measuring = set(plan.clients_P[plan.measured_P > 0].tolist()) & set(sums.completed)
        tasks = [
            replace(task, measures=True, memory=sums.memories.get(task.client, {}))
            for task in tasks_of(plan, state)
            if task.client in measuring
        ]
        pooled = PooledStatistics()
        for result in executor.train(tasks, weights):
            sums.note(result)
            if result.model:
                pooled.add(result.model, result.examples)
        return replace(weights, model=pooled.result(weights.model))


@dataclass(frozen=True, kw_only=True)
class FedAdam(AdaptiveServer):
    """FedAdam (Reddi et al., ICLR 2021): FedAvg whose server takes Adam's step along the mean change.

    v <- beta2 v + (1 - beta2) D^2. Under batch norm clients measure its statistics of the new weights. Time model: that
    of FedAvg, then this pass.
    """

    def second_moment(self, v: Tensor, square: Tensor) -> Tensor:
        """Return the moving average of squares."""
        return self.beta2 * v + (1 - self.beta2) * square


@dataclass(frozen=True, kw_only=True)
class FedYogi(AdaptiveServer):
    """FedYogi (Reddi et al., ICLR 2021): FedAvg whose server takes Yogi's step along the mean change.

    v <- v - (1 - beta2) D^2 sign(v - D^2). Under batch norm clients measure its statistics of the new weights. Time
    model: that of FedAvg, then this pass.
    """

    def second_moment(self, v: Tensor, square: Tensor) -> Tensor:
        """Return v moved towards the square by a share of the square, not of the distance."""
        return v - (1 - self.beta2) * square * torch.sign(v - square)
