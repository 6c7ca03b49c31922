"""FedGKT: small networks on the clients, a large one on the server, and knowledge that goes both ways as logits."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.models.cutting.staged import snapshot, split
from dtfl_private.numerics import Numerics
from dtfl_private.protocol.adversaries import Capability
from dtfl_private.protocol.guarantees import Protected
from dtfl_private.protocol.messages import State
from dtfl_private.simulation.costs.table import TierTable
from dtfl_private.simulation.round_plan import RoundPlan
from dtfl_private.simulation.timing import ServerLast, Timing
from dtfl_private.training.aggregate import WeightedAverage
from dtfl_private.training.executor import Executor
from dtfl_private.training.method import Method, Places, only_tier
from dtfl_private.training.methods.fedgkt_work import Distillation, FedGktWork
from dtfl_private.training.round_sums import Sums
from dtfl_private.training.state import FederatedState, GlobalWeights
from dtfl_private.training.tasks import ClientResult
from dtfl_private.training.worker import LocalWork, WorkerSetup


@dataclass(frozen=True, kw_only=True)
class FedGkt(Method):
    """FedGKT (He et al., NeurIPS 2020): small client networks and one server network teach each other by logits.

    A client's network is md1..md_cut and an auxiliary head, the server's is the rest. Clients keep their networks: no
    weights are sent, and all begin with the same ones, which are part of the program. In a round a client trains on
    its labels and the server's logits of last time, then sends each record's features, logits and label once; the
    server trains on them once, a batch of each client in turn, on labels and the client's logits, and returns the
    logits that it had. As in the paper a client is judged as its own modules and the server's network; each client that
    has completed a round judges its share of the test images, so that every image is judged once. A client that never
    has (not sampled, or dropped out) still has the modules of the start, behind which nothing was trained: it is not
    judged. Before anybody has, the network of the start is. The global model in the run folder is the server's network
    behind the mean of the judged clients' modules, which is not what was judged.

    Time model: clients first, then the server, as in the paper: it begins when the data of all are there, and one
    server worker trains the one network on all of them. T_k = max_k (T_c + T_com) + sum_k T_s: every client has its
    logits when the server is done.
    """

    cut: Annotated[int, Field(ge=1)] = 2
    alpha: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 3.0
    places: ClassVar[Places] = frozenset()
    sends: ClassVar[tuple[Protected, ...]] = ("smashed", "labels")
    has_heads: ClassVar[bool] = True
    hides: ClassVar[frozenset[Capability]] = frozenset(
        {
            "client-weights",
            "updates",
            "aggregate",
            "final-model",
            "replies",
            "tail-gradients",
            "chooses-weights",
            "chooses-tier",
            "chooses-replies",
        }
    )
    also_sent: ClassVar[tuple[str, ...]] = ("up_logits", "down_logits")

    def work(self) -> LocalWork:
        """Return training by labels and logits."""
        return FedGktWork(distillation=Distillation(alpha=self.alpha, temperature=self.temperature))

    @property
    def timing(self) -> Timing:
        """All clients first, then the server."""
        return ServerLast()

    def costs(self, network: TierTable, classes: int, numerics: Numerics) -> TierTable:
        """Return the row of the cut: no weights sent, a forward pass for the release, logits both ways."""
        row = only_tier(network, self.cut)
        taught = replace(
            row,
            weight_bytes=0,
            release_macs=row.client_forward_macs + row.head_forward_macs,
            logit_bytes=classes * numerics.wire_dtype.itemsize,
        )
        return replace(network, rows=(taught,))

    def initial_extras(self, setup: WorkerSetup) -> State:
        """Return every client's network and that the server has not answered yet."""
        modules, (head,) = split(setup.model, self.cut)[0], setup.heads.values()
        extras: dict[str, Tensor] = {}
        for client, part in enumerate(setup.parts):
            own = {f"net/{name}": tensor for name, tensor in snapshot(modules).items()}
            own |= {f"head/{name}": tensor for name, tensor in snapshot(head).items()}
            own["logits"] = torch.zeros(len(part), setup.classes, dtype=setup.numerics.weight_dtype)
            own["answered"] = torch.tensor(False)
            extras |= {f"client/{client}/{name}": tensor for name, tensor in own.items()}
        return extras

    def train(self, plan: RoundPlan, state: FederatedState, executor: Executor) -> Iterator[ClientResult]:
        """Yield the results of clients that teach, and are taught by, the one server network."""
        tasks = self.tasks(plan, state)
        return executor.train_groups([tasks] if tasks else [], state.weights)

    def combine(self, state: FederatedState, sums: Sums) -> tuple[GlobalWeights, State]:
        """Return the server's network behind the mean of the clients' modules, and what every client keeps."""
        extras = {**state.extras, **sums.extras}
        server = sums.latest or state.weights.model
        networks = _networks(extras)
        mean = WeightedAverage()
        for client, net in networks.items():
            mean.add(net, len(extras[f"client/{client}/logits"]))
        model = {**server, **mean.result(server)}
        return GlobalWeights(model=model, heads=sums.average().heads), extras

    def own_networks(self, extras: State) -> Mapping[int, State]:
        """Return the modules of every client that has completed a round."""
        return _networks(extras)


def _networks(extras: State) -> Mapping[int, State]:
    """Return the modules of every client that has completed a round; the others' are those of the start."""
    networks: dict[int, dict[str, Tensor]] = {}
    for name, tensor in extras.items():
        _, client, kept = name.split("/", 2)
        if kept.startswith("net/") and extras[f"client/{client}/answered"]:
            networks.setdefault(int(client), {})[kept.removeprefix("net/")] = tensor
    return networks
