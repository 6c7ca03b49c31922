"""SplitFed: the network is cut, and the gradient at the cut comes back from the server."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dtfl_private.errors import InputError
from dtfl_private.models.copies import copied
from dtfl_private.models.cutting.staged import StagedModel, snapshot, split
from dtfl_private.numerics import Numerics
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.adversaries import Capability
from dtfl_private.protocol.messages import GradientReply, SmashedBatch, State
from dtfl_private.randomness import isolated
from dtfl_private.simulation.costs.table import TierTable
from dtfl_private.simulation.round_plan import RoundPlan
from dtfl_private.simulation.timing import BatchByBatch, Timing
from dtfl_private.training.executor import Executor
from dtfl_private.training.method import Method, Places, only_tier
from dtfl_private.training.methods.split_client import SplitClient
from dtfl_private.training.optimizers import make_optimizer
from dtfl_private.training.state import FederatedState, GlobalWeights
from dtfl_private.training.tasks import ClientResult, ClientTask, taking_turns, whose_turn
from dtfl_private.training.worker import LocalWork, Worker

HostileAnswer = Callable[[SmashedBatch], Tensor]
"""What a malicious server returns for a batch in place of the loss's gradient: (batch, *cut shape)."""


class _Server:
    """The server half: md_(m+1)..md_L, trained on the batches of one client, or of several in turn."""

    def __init__(self, worker: Worker, modules: StagedModel, weights: GlobalWeights, lr: float) -> None:
        modules.load_state_dict({name: weights.model[name] for name in modules.state_dict()})
        self._setup = worker.setup
        self._modules = modules.train()
        self._optimizer = make_optimizer(modules.parameters(), worker.setup.optimizer, lr)

    def train_on(self, message: SmashedBatch, losses: list[Tensor], defense: DefenseChain) -> GradientReply:
        """Take one step, note its loss, and return the gradient at the cut; ``defense``: of the message's client."""
        numerics = self._setup.numerics
        smashed = message.smashed
        if numerics.precision != "bf16":
            smashed = smashed.to(numerics.weight_dtype)
        smashed = smashed.detach().requires_grad_()
        with numerics.autocast():
            # A copy, for the half may begin with a ReLU in place.
            loss = defense.classification_loss(self._modules(smashed.clone()), message.labels)
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        self._optimizer.step()
        losses.append(loss.detach())
        assert smashed.grad is not None
        gradient = smashed.grad.to(numerics.wire_dtype)
        return GradientReply(client=message.client, round=message.round, batch=message.batch, gradient=gradient)

    def weights(self) -> State:
        """Return a copy of the trained weights."""
        return snapshot(self._modules)


def hostile_reply(message: SmashedBatch, answer: HostileAnswer) -> GradientReply:
    """Return what a malicious server answers to a batch."""
    gradient = answer(message).to(message.smashed)
    return GradientReply(client=message.client, round=message.round, batch=message.batch, gradient=gradient)


@dataclass(frozen=True, kw_only=True)
class SplitFedWork:
    """Train clients on one server half: one client by itself, or several that take turns.

    Attributes:
        answer: of a malicious server, whose own half stays as it is; None for an honest one. Only attacks set it.
    """

    answer: HostileAnswer | None = None

    def train(self, worker: Worker, tasks: Sequence[ClientTask], weights: GlobalWeights) -> list[ClientResult]:
        """Return the results, in the order of the tasks."""
        task = tasks[0]
        client_modules, server_modules = split(worker.model, task.tier)
        server = _Server(worker, server_modules, weights, task.lr)
        # Several clients are under way at once: each has modules of its own.
        clients = [SplitClient(worker, task, copied(client_modules), weights) for task in tasks]
        with isolated(worker.setup.seed, "layers", task.client, task.round):
            for client in (clients[place] for place in whose_turn(tasks)):
                if client.refuses:  # it has no further turn
                    continue
                message = client.send()
                if self.answer is None:
                    reply = server.train_on(message, client.losses, client.defense)
                else:
                    reply = hostile_reply(message, self.answer)
                worker.observe(reply)
                client.receive(reply)
        return [client.result(server.weights()) for client in clients]


@dataclass(frozen=True, kw_only=True)
class _SplitFed(Method):
    cut: Annotated[int, Field(ge=1)] = 2
    token_labels: ClassVar[bool] = True
    places: ClassVar[Places] = frozenset({"weights", "download", "replies", "labels", "activations"})
    hides: ClassVar[frozenset[Capability]] = frozenset({"logits", "tail-gradients", "chooses-tier"})
    also_sent: ClassVar[tuple[str, ...]] = ("down_gradients",)

    def work(self) -> LocalWork:
        """Return split training with gradients returned."""
        return SplitFedWork()

    def costs(self, network: TierTable, classes: int, numerics: Numerics) -> TierTable:
        """Return the row of the cut: no auxiliary head, and gradients that come back.

        Raises:
            InputError: the network has no such cut, or nothing to train before it.
        """
        row = only_tier(network, self.cut)
        if row.client_params == 0:
            raise InputError(f"cut={self.cut} leaves the clients nothing to train: choose a later one")
        split_row = replace(
            row,
            head_params=0,
            client_train_macs=row.chained_client_macs,
            server_train_macs=row.chained_server_macs,
            weight_bytes=row.weight_bytes - row.head_bytes,
            gradient_bytes=row.smashed_bytes,
        )
        return replace(network, rows=(split_row,))


@dataclass(frozen=True, kw_only=True)
class SplitFedV1(_SplitFed):
    """SplitFed v1 (Thapa et al., AAAI 2022): a server half for each client; both halves are averaged.

    The optimisers of both sides live for the round. Time model: in every batch the client waits until the server has
    trained on it and the gradient is back: T_k = T_c + T_com + waits + T_s, where T_com counts the gradients and one
    more round trip per batch. Clients wait for each other only where all server workers are busy.
    """

    @property
    def timing(self) -> Timing:
        """Batch by batch, each client with its own server half."""
        return BatchByBatch(one_server_half=False)


@dataclass(frozen=True, kw_only=True)
class SplitFedV2(_SplitFed):
    """SplitFed v2 (Thapa et al., AAAI 2022): one server half for all clients, trained on their batches in turn.

    Only the client halves are averaged. The paper draws the clients' order at random; here the server half takes the
    batches as they arrive on the simulated clock, and what a client sent before it dropped out has trained it. If all
    drop out, the round is lost. Time model: that of v1, but there is one server half to be trained, hence one server
    worker, and every batch queues for it.
    """

    together: ClassVar[bool] = True

    @property
    def timing(self) -> Timing:
        """Batch by batch, all clients with the same server half."""
        return BatchByBatch(one_server_half=True)

    def tasks(self, plan: RoundPlan, state: FederatedState) -> list[ClientTask]:
        """Return the tasks of clients that take turns in the plan's order."""
        return taking_turns(super().tasks(plan, state), plan.order)

    def train(self, plan: RoundPlan, state: FederatedState, executor: Executor) -> Iterator[ClientResult]:
        """Yield the results of clients that share the server half."""
        tasks = self.tasks(plan, state)
        return executor.train_groups([tasks] if tasks else [], state.weights)
