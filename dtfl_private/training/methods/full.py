"""Methods whose participants hold the whole network: FedAvg, FedProx, tier selection, centralised training."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from dtfl_private.models.cutting.staged import snapshot
from dtfl_private.numerics import Numerics
from dtfl_private.protection.defense_chain import full_round
from dtfl_private.protocol.adversaries import Capability
from dtfl_private.protocol.contracts import IntArray
from dtfl_private.protocol.guarantees import Protected
from dtfl_private.protocol.messages import ModelDownload, State, WeightUpdate
from dtfl_private.randomness import stream
from dtfl_private.simulation.costs.table import TierCost, TierTable
from dtfl_private.simulation.estimates import NEVER, History, estimate
from dtfl_private.simulation.schedule_state import ScheduleSettings, Selection
from dtfl_private.simulation.timing import Overlapping, Timing
from dtfl_private.training.method import Method, Places
from dtfl_private.training.optimizers import make_optimizer
from dtfl_private.training.state import GlobalWeights
from dtfl_private.training.tasks import ClientResult, ClientTask
from dtfl_private.training.worker import LocalWork, Worker, require_finite

Strength = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True)
class FullModelWork:
    """Train the whole network where the data are.

    proximal: mu of the term mu/2 ||w - w_t||^2 that holds the weights near those that the round began with.
    centralised: client and server are the same place, so that nothing is sent and no client is seen.
    """

    proximal: float = 0.0
    centralised: bool = False

    def train(self, worker: Worker, tasks: Sequence[ClientTask], weights: GlobalWeights) -> list[ClientResult]:
        """Return the results, one client after the other."""
        return [self._train_one(worker, task, weights) for task in tasks]

    def _train_one(self, worker: Worker, task: ClientTask, weights: GlobalWeights) -> ClientResult:
        defense = worker.defense_of(task)
        download = ModelDownload(client=task.client, round=task.round, tier=task.tier, weights=weights.model, head={})
        at = worker.client_round(task, download)
        remarks = defense.inspect(download, at)
        update, loss = None, 0.0
        if not any(remark.refuses for remark in remarks):
            with worker.randomness.isolated("layers", task.client, task.round):
                loss = self._fit(worker, task, weights.model)
            if task.completes:
                update = defense.protect_update(_update(worker, task, worker.examples(task)), at)
                require_finite(sum(float(w.abs().max()) for w in update.weights.values()), task, "largest weight")
        if update is not None and not self.centralised:
            worker.observe(update)
        released = full_round(
            defense,
            records=at.records,
            batch_size=worker.setup.batch_size,
            local_epochs=worker.setup.local_epochs,
            batches=False,
            update=update is not None,
        )
        return ClientResult(
            client=task.client,
            tier=task.tier,
            examples=update.examples if update is not None else 0,
            model=update.weights if update is not None else {},
            head={},
            local_loss=None if self.centralised else loss,
            server_loss=loss if self.centralised else None,
            traffic={} if self.centralised else _traffic(download, update),
            memory=at.remembered() if task.completes else task.memory,
            remarks=remarks,
            guarantees=defense.guarantees(released),
        )

    def _fit(self, worker: Worker, task: ClientTask, start: State) -> float:
        """Train the resident network from these weights and return its mean loss."""
        setup, model, defense = worker.setup, worker.model, worker.defense_of(task)
        model.load_state_dict(start)
        model.train()
        optimizer = make_optimizer(model.parameters(), setup.optimizer, task.lr)
        anchors = [parameter.detach().clone() for parameter in model.parameters()] if self.proximal else []
        data, losses = worker.data(task), []
        for records in islice(data.batches, task.batches):
            inputs, labels = data.fetch(records)
            with setup.numerics.autocast():
                loss = defense.classification_loss(model(inputs), labels)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            self._pull(model, anchors)
            optimizer.step()
            losses.append(loss.detach())
        mean = float(torch.stack(losses).cpu().double().mean()) if losses else 0.0
        require_finite(mean, task, "training loss")
        return mean

    def _pull(self, model: nn.Module, anchors: Sequence[Tensor]) -> None:
        """Add the gradient of the proximal term, mu (w - w_t), to that of the loss."""
        for parameter, anchor in zip(model.parameters() if anchors else (), anchors, strict=True):
            if parameter.grad is not None:
                parameter.grad.add_(parameter.detach() - anchor, alpha=self.proximal)


def _update(worker: Worker, task: ClientTask, examples: int) -> WeightUpdate:
    return WeightUpdate(
        client=task.client,
        round=task.round,
        tier=task.tier,
        examples=examples,
        weights=snapshot(worker.model),
        head={},
    )


def _traffic(download: ModelDownload, update: WeightUpdate | None) -> dict[str, int]:
    return {"down_weights": download.weight_bytes, "up_weights": update.weight_bytes if update is not None else 0}


def whole_network(network: TierTable, classes: int) -> TierCost:
    """Return the cost of a client that holds all L modules of a network."""
    last = network.rows[-1]
    return TierCost(
        tier=network.modules,
        cut_shape=(classes,),
        client_params=last.client_params + last.server_params,
        client_frozen=last.client_frozen + last.server_frozen,
        server_params=0,
        head_params=0,
        client_forward_macs=network.forward_macs,
        client_train_macs=network.train_macs,
        server_train_macs=0,
        smashed_bytes=0,
        label_bytes=0,
        weight_bytes=network.weight_bytes,
    )


@dataclass(frozen=True, kw_only=True)
class FullModelMethod(Method):
    """What the methods with the whole network on the client have in common.

    The tier of a client is L, the number of the network's modules: it holds them all.
    """

    token_labels: ClassVar[bool] = True
    places: ClassVar[Places] = frozenset({"weights", "download"})
    sends: ClassVar[tuple[Protected, ...]] = ("weights",)
    cuts: ClassVar[bool] = False
    hides: ClassVar[frozenset[Capability]] = frozenset(
        {"logits", "replies", "tail-gradients", "chooses-tier", "chooses-replies"}
    )

    def work(self) -> LocalWork:
        """Return plain local training."""
        return FullModelWork()

    def costs(self, network: TierTable, classes: int, numerics: Numerics) -> TierTable:
        """Return the cost of the whole network on a client."""
        return replace(network, rows=(whole_network(network, classes),))


@dataclass(frozen=True, kw_only=True)
class FedAvg(FullModelMethod):
    """FedAvg (McMahan et al., AISTATS 2017): clients train the whole network, the server averages it.

    Time model: T_k = T_c + T_com, the whole network down and up; the server only averages. The round lasts until the
    slowest participant is done.
    """


@dataclass(frozen=True, kw_only=True)
class FedProx(FullModelMethod):
    """FedProx (Li et al., MLSys 2020): FedAvg with a proximal term that holds clients near the global weights.

    The local loss gets mu/2 ||w - w_t||^2. Only that of the paper: participants do all their work, and those that
    drop out are left out as in FedAvg. Time model: that of FedAvg; the term costs no MACs in this count.
    """

    mu: Strength = 0.01

    def work(self) -> LocalWork:
        """Return local training with the proximal term."""
        return FullModelWork(proximal=self.mu)


@dataclass(frozen=True, kw_only=True)
class SpeedGroups:
    """Participants of a round come from one group of clients of about the same speed, drawn at random.

    Clients that were never measured are in no group yet: they join the drawn one, and go first in it, all but one
    place. So a newcomer is soon measured and never trains alone while others have been measured; where there is one
    place only, it and a client of the group both take part. Groups differ in size by one client at most.
    """

    groups: int

    def choose(
        self, present: IntArray, count: int, history: History, settings: ScheduleSettings, round_number: int
    ) -> IntArray:
        """Return ``count`` clients at most (two, if that is one and there are newcomers): newcomers and one group's."""
        rng = stream(settings.seed, "speed group", round_number)
        newcomers = present[history.tier_K[present] == NEVER]
        measured = np.setdiff1d(present, newcomers)
        if not len(measured):
            return rng.permutation(newcomers)[:count]
        groups = _by_speed(measured, history, settings, self.groups)
        group = rng.permutation(groups[rng.integers(len(groups))])
        in_turn = np.concatenate([group[:1], rng.permutation(newcomers), group[1:]])
        return in_turn[: max(count, 2) if len(newcomers) else count]


def _by_speed(present: IntArray, history: History, settings: ScheduleSettings, groups: int) -> list[IntArray]:
    """Return groups of about equal size, the fastest first, by the estimated time of a client's round."""
    images = settings.images_K[present].astype(np.float64) * settings.local_epochs
    times_s = estimate(history, present, settings.table, images, settings.server_seconds_M)[:, 0]
    in_order = present[np.argsort(times_s, kind="stable")]
    return [group for group in np.array_split(in_order, groups) if len(group)]


@dataclass(frozen=True, kw_only=True)
class Tifl(FullModelMethod):
    """Tier selection like TiFL's (Chai et al., HPDC 2020): each round's participants are about equally fast.

    Clients are grouped by measured speed, anew in each round; every round draws one group uniformly and samples from
    it. The paper's adaptive draw, by accuracy per group, is not here. The groups are no tiers of DTFL: a client always
    holds the whole network. Time model: that of FedAvg, among the participants; clients are measured for the first time
    in rounds of training, together with those of the drawn group.
    """

    groups: Annotated[int, Field(ge=1)] = 5

    @property
    def selection(self) -> Selection:
        """Return the choice of one group."""
        return SpeedGroups(groups=self.groups)


@dataclass(frozen=True, kw_only=True)
class Centralised(FullModelMethod):
    """Centralised training: all data at one place, the ceiling of accuracy.

    The first of the field's baselines, as in McMahan et al. (AISTATS 2017, section 3). A round is the local epochs over
    all images, by a fresh optimiser. One participant, 0, is the data centre. Time model: T = T_s on one server worker;
    nothing is transferred, the clients and their resources do not matter.
    """

    places: ClassVar[Places] = frozenset()
    sends: ClassVar[tuple[Protected, ...]] = ()
    pooled: ClassVar[bool] = True

    def work(self) -> LocalWork:
        """Return plain training that sends nothing."""
        return FullModelWork(centralised=True)

    @property
    def timing(self) -> Timing:
        """No transfer, hence no latency either."""
        return Overlapping(trips=0)

    def costs(self, network: TierTable, classes: int, numerics: Numerics) -> TierTable:
        """Return the cost of the whole network on the server."""
        row = whole_network(network, classes)
        at_the_server = replace(row, client_train_macs=0, server_train_macs=row.client_train_macs, weight_bytes=0)
        return replace(network, rows=(at_the_server,))
