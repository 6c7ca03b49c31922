"""Local-loss split learning: DTFL, and the same with one cut for all clients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from pydantic import Field

from dtfl_private.federated.client import ClientHalf
from dtfl_private.federated.round import EVERYWHERE, Method, Places, only_tier
from dtfl_private.federated.server import ServerHalf
from dtfl_private.federated.worker import (
    ClientResult,
    ClientTask,
    GlobalWeights,
    LocalWork,
    Worker,
    honest_download,
    require_finite,
)
from dtfl_private.messages import State
from dtfl_private.models.staged import StagedModel, split
from dtfl_private.numerics import Numerics
from dtfl_private.randomness import isolated
from dtfl_private.tiers.table import TierTable


@dataclass(frozen=True, kw_only=True)
class LocalLossWork:
    """The client half by a local loss and, on its messages, the server half.

    The two halves are cut from the resident model, so that joining them needs no copying of modules.
    """

    def train(self, worker: Worker, tasks: Sequence[ClientTask], weights: GlobalWeights) -> list[ClientResult]:
        """Return the results, one client after the other."""
        return [_train_one(worker, task, weights) for task in tasks]


def _train_one(worker: Worker, task: ClientTask, weights: GlobalWeights) -> ClientResult:
    setup = worker.setup
    client_modules, server_modules = split(worker.model, task.tier)
    download = honest_download(worker.model, task, weights)
    at = worker.client_round(task)
    client = ClientHalf(
        download=download,
        modules=client_modules,
        head=worker.heads[task.tier],
        optimizer=setup.optimizer,
        lr=task.lr,
        batch_size=setup.batch_size,
        local_epochs=setup.local_epochs,
        numerics=setup.numerics,
        defense=setup.defense,
        at=at,
    )
    server = ServerHalf(
        modules=server_modules,
        weights={name: weights.model[name] for name in server_modules.state_dict()},
        optimizer=setup.optimizer,
        lr=task.lr,
        numerics=setup.numerics,
        defense=setup.defense,
    )
    traffic = {"down_weights": download.weight_bytes, "up_weights": 0, "up_smashed": 0, "up_labels": 0}
    remarks = client.inspect()
    update = None
    if not any(remark.refuses for remark in remarks):
        with isolated(setup.seed, "layers", task.client, task.round):
            for message in client.train(worker.data(task), task.batches):
                traffic["up_smashed"] += message.smashed_bytes
                traffic["up_labels"] += message.label_bytes
                worker.observe(message)
                server.train_on(message)
            update = client.update() if task.completes else None
    require_finite(client.mean_loss, task, "local loss")
    require_finite(server.mean_loss, task, "server loss")
    model: State = {}
    head: State = {}
    if update is not None:
        traffic["up_weights"] = update.weight_bytes
        worker.observe(update)
        model, head = {**update.weights, **server.weights()}, update.head
        # The last step of a round shows in no loss.
        require_finite(sum(float(w.abs().max()) for w in [*model.values(), *head.values()]), task, "largest weight")
    return ClientResult(
        client=task.client,
        tier=task.tier,
        examples=update.examples if update is not None else 0,
        model=model,
        head=head,
        local_loss=client.mean_loss,
        server_loss=server.mean_loss,
        traffic=traffic,
        memory=at.remembered() if task.completes else task.memory,
        remarks=remarks,
        guarantees=client.guarantees(),
    )


@dataclass(frozen=True, kw_only=True)
class Dtfl(Method):
    """DTFL (arXiv 2312.05642): dynamic tiers, local losses, server halves trained in parallel.

    Time model: T_k = max(T_c + T_com, T_s + T_com), the server half queueing when the server is busy; the round lasts
    until the last participant is done (dtfl section 3).
    """

    places: ClassVar[Places] = EVERYWHERE
    tiered: ClassVar[bool] = True
    has_heads: ClassVar[bool] = True

    def work(self) -> LocalWork:
        """Return the local-loss work."""
        return LocalLossWork()

    def costs(self, network: TierTable, classes: int, numerics: Numerics) -> TierTable:
        """Return the network's own table: all tiers."""
        return network


@dataclass(frozen=True, kw_only=True)
class DtflTied(Dtfl):
    """DTFL whose deepest cut trains by the classifier itself, in place of an auxiliary head (ours).

    In tier L - 1 the server half is the classifier, the last module. In the paper a client there trains by a head of
    its own: the modules before adapt to that head, and the classifier has to follow them alone. Here the client
    downloads the classifier as its head, and both sides take the same steps: without defenses a client in tier L - 1
    trains what a client of FedAvg trains. The other tiers, the messages and the time model are DTFL's. The head that
    comes back is not used, since the server has the same.
    """

    def tied(self, network: StagedModel) -> Mapping[int, str]:
        """Return the deepest tier, whose head is the last module."""
        return {len(network) - 1: network.stage_names[-1]}

    def costs(self, network: TierTable, classes: int, numerics: Numerics) -> TierTable:
        """Return the network's table, where a client in the deepest tier trains, receives and returns all modules."""
        last = network.rows[-1]
        if last.tier != network.modules - 1:  # left out by the configuration
            return network
        trained_whole = replace(
            last,
            head_params=last.server_params,
            head_bytes=network.weight_bytes - (last.weight_bytes - last.head_bytes),
            head_forward_macs=network.forward_macs - last.client_forward_macs,
            client_train_macs=network.train_macs,
            weight_bytes=network.weight_bytes,
        )
        return replace(network, rows=(*network.rows[:-1], trained_whole))


@dataclass(frozen=True, kw_only=True)
class LocalLoss(Method):
    """Un-tiered local-loss split learning (Han et al., FL-ICML workshop 2021): one cut for all clients.

    It is DTFL with the scheduler static:m=cut. Time model: that of DTFL; nobody waits for gradients, and the round
    lasts until the slowest participant is done.
    """

    cut: Annotated[int, Field(ge=1)] = 2
    places: ClassVar[Places] = EVERYWHERE
    has_heads: ClassVar[bool] = True

    def work(self) -> LocalWork:
        """Return the local-loss work."""
        return LocalLossWork()

    def costs(self, network: TierTable, classes: int, numerics: Numerics) -> TierTable:
        """Return the row of the cut."""
        return replace(network, rows=(only_tier(network, self.cut),))
