"""Local-loss split learning: DTFL, and the same with one cut for all clients."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from pydantic import Field

from dtfl_private.models.cutting.staged import split
from dtfl_private.numerics import Numerics
from dtfl_private.randomness import isolated
from dtfl_private.simulation.costs.table import TierTable
from dtfl_private.training.method import EVERYWHERE, Method, Places, only_tier
from dtfl_private.training.methods.full import FullModelWork, whole_network
from dtfl_private.training.participant import Participant, server_half
from dtfl_private.training.state import GlobalWeights
from dtfl_private.training.tasks import ClientResult, ClientTask
from dtfl_private.training.worker import LocalWork, Worker, honest_download


@dataclass(frozen=True, kw_only=True)
class LocalLossWork:
    """The client half by a local loss and, on its messages, the server half.

    The two halves are cut from the resident model, so that joining them needs no copying of modules.
    """

    def train(self, worker: Worker, tasks: Sequence[ClientTask], weights: GlobalWeights) -> list[ClientResult]:
        """Return the results, one client after the other."""
        results = []
        for task in tasks:
            client_modules, server_modules = split(worker.model, task.tier)
            download = honest_download(worker.setup, task, weights)
            client = Participant(worker, task, client_modules, worker.heads[task.tier], download)
            server = server_half(worker.setup, task, server_modules, weights)
            with isolated(worker.setup.seed, "layers", task.client, task.round):
                for message in client.messages():
                    server.train_on(message)
                results.append(client.result(server))
        return results


@dataclass(frozen=True, kw_only=True)
class Dtfl(Method):
    """DTFL (arXiv 2312.05642): dynamic tiers, local losses, server halves trained in parallel.

    Time model: T_k = max(T_c + T_com, T_s + T_com), the server half queueing when the server is busy; the round lasts
    until the last participant is done (dtfl section 3).
    """

    places: ClassVar[Places] = EVERYWHERE
    token_labels: ClassVar[bool] = True
    tiered: ClassVar[bool] = True
    has_heads: ClassVar[bool] = True

    def work(self) -> LocalWork:
        """Return the local-loss work."""
        return LocalLossWork()

    def costs(self, network: TierTable, classes: int, numerics: Numerics) -> TierTable:
        """Return the network's own table: all tiers."""
        return network


# Where defenses can act if some clients train the whole network: there are none there for inputs, labels and steps.
BESIDE_FULL: Places = frozenset({"activations", "loss", "smashed", "weights", "download"})


@dataclass(frozen=True, kw_only=True)
class LocalLossOrFullWork:
    """Plain local training for clients that hold the whole network, a client half by a local loss for all others."""

    def train(self, worker: Worker, tasks: Sequence[ClientTask], weights: GlobalWeights) -> list[ClientResult]:
        """Return the results, one client after the other."""
        results = []
        for task in tasks:
            whole = task.tier == len(worker.model)
            work: LocalWork = FullModelWork() if whole else LocalLossWork()
            results += work.train(worker, [task], weights)
        return results


@dataclass(frozen=True, kw_only=True)
class DtflFull(Method):
    """DTFL (arXiv 2312.05642) with one tier more, in which a client keeps the whole network, as in FedAvg (ours).

    In tier L, the number of modules, a client trains the whole network by its own loss, and sends its weights and
    nothing else: neither activations nor labels. It computes what a client in tier L - 1 computes and the last module,
    in place of an auxiliary head: nothing more where that is the classifier alone. Who is in tier L - 1 has to send
    its smashed data besides, and its modules adapt to the head and not to the classifier behind them. With all clients
    in tier L it is FedAvg. Defenses of smashed data act in the other tiers.

    Time model: that of DTFL, and that of FedAvg in tier L, T_k = T_c + T_com.
    """

    places: ClassVar[Places] = BESIDE_FULL
    token_labels: ClassVar[bool] = True
    tiered: ClassVar[bool] = True
    has_heads: ClassVar[bool] = True

    @property
    def full_tier(self) -> bool:
        """It has."""
        return True

    def work(self) -> LocalWork:
        """Return the work of both kinds of tiers."""
        return LocalLossOrFullWork()

    def costs(self, network: TierTable, classes: int, numerics: Numerics) -> TierTable:
        """Return the network's own table, and a row for a client that holds all of it."""
        return replace(network, rows=(*network.rows, whole_network(network, classes)))


@dataclass(frozen=True, kw_only=True)
class LocalLoss(Method):
    """Un-tiered local-loss split learning (Han et al., FL-ICML workshop 2021): one cut for all clients.

    It is DTFL with the scheduler static:m=cut. Time model: that of DTFL; nobody waits for gradients, and the round
    lasts until the slowest participant is done.
    """

    cut: Annotated[int, Field(ge=1)] = 2
    places: ClassVar[Places] = EVERYWHERE
    token_labels: ClassVar[bool] = True
    has_heads: ClassVar[bool] = True

    def work(self) -> LocalWork:
        """Return the local-loss work."""
        return LocalLossWork()

    def costs(self, network: TierTable, classes: int, numerics: Numerics) -> TierTable:
        """Return the row of the cut."""
        return replace(network, rows=(only_tier(network, self.cut),))
