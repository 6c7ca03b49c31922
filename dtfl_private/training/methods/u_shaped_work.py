"""What workers do in a U-shaped split: the server has the middle of the network, a client both ends and the labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from dtfl_private.models.copies import copied
from dtfl_private.models.cutting.staged import StagedModel, held_modules, snapshot, split
from dtfl_private.numerics import Numerics
from dtfl_private.protocol.messages import GradientReply, MiddleOutput, SmashedBatch, State, TailGradient
from dtfl_private.randomness import isolated
from dtfl_private.training.methods.split_client import SplitClient
from dtfl_private.training.methods.splitfed import HostileAnswer, hostile_reply
from dtfl_private.training.optimizers import make_optimizer
from dtfl_private.training.state import GlobalWeights
from dtfl_private.training.tasks import ClientResult, ClientTask
from dtfl_private.training.worker import Worker


class _Client(SplitClient):
    """A client with both ends: its labels stay with it, and so does the loss."""

    counts: ClassVar[tuple[str, ...]] = (*SplitClient.counts, "down_outputs", "up_gradients")
    sends_labels: ClassVar[bool] = False

    def __init__(self, worker: Worker, task: ClientTask, modules: StagedModel, weights: GlobalWeights) -> None:
        super().__init__(worker, task, modules, weights)
        self._tail = self._modules[task.tier :]

    def answer(self, message: MiddleOutput) -> TailGradient:
        """Return the loss's gradient at what the server sent for the batch under way; that of the tail is kept."""
        assert self._labels is not None
        numerics = self._worker.setup.numerics
        outputs = _received(message.outputs, numerics).requires_grad_()
        with numerics.autocast():
            # A copy, for the tail may begin with a ReLU in place.
            loss = self.defense.classification_loss(self._tail(outputs.clone()), self._labels)
        torch.autograd.backward(loss)
        self.losses.append(loss.detach())
        assert outputs.grad is not None
        reply = TailGradient(
            client=message.client,
            round=message.round,
            batch=message.batch,
            gradient=outputs.grad.to(numerics.wire_dtype),
        )
        self.traffic["down_outputs"] += message.output_bytes
        self.traffic["up_gradients"] += reply.gradient_bytes
        self._worker.observe(reply)
        return reply

    def result(self, server: State) -> ClientResult:
        """Close the round with the middle as it is now; the loss is the client's own."""
        closed = super().result(server)
        return replace(closed, local_loss=closed.server_loss, server_loss=None)


class _Middle:
    """The server's modules between a client's two ends, trained on the batches of one client."""

    def __init__(self, worker: Worker, modules: nn.Module, weights: GlobalWeights, lr: float) -> None:
        modules.load_state_dict({name: weights.model[name] for name in modules.state_dict()})
        self._numerics = worker.setup.numerics
        self.modules = modules.train()
        self._optimizer = make_optimizer(modules.parameters(), worker.setup.optimizer, lr)
        self._inputs: Tensor | None = None
        self._outputs: Tensor | None = None

    def forward(self, message: SmashedBatch) -> MiddleOutput:
        """Return what the middle makes of a batch, which is then under way."""
        self._inputs = _received(message.smashed, self._numerics).requires_grad_()
        with self._numerics.autocast():
            self._outputs = self.modules(self._inputs.clone())
        outputs = self._outputs.detach().to(self._numerics.wire_dtype)
        return MiddleOutput(client=message.client, round=message.round, batch=message.batch, outputs=outputs)

    def backward(self, message: TailGradient) -> GradientReply:
        """Take one step on the batch under way, and return the gradient at the first cut."""
        assert self._inputs is not None
        assert self._outputs is not None
        self._optimizer.zero_grad()
        torch.autograd.backward(self._outputs, message.gradient.to(self._outputs.dtype))
        self._optimizer.step()
        assert self._inputs.grad is not None
        gradient = self._inputs.grad.to(self._numerics.wire_dtype)
        return GradientReply(client=message.client, round=message.round, batch=message.batch, gradient=gradient)


def _received(tensor: Tensor, numerics: Numerics) -> Tensor:
    """Return what arrived as one computes with it: a leaf of one's own."""
    return (tensor if numerics.precision == "bf16" else tensor.to(numerics.weight_dtype)).detach()


@dataclass(frozen=True, kw_only=True)
class UShapedWork:
    """Train clients one after the other, each with a middle of its own.

    Attributes:
        answer: of a malicious server to a batch, in place of the gradient at the first cut; the middle trains as it
            should. None for an honest one. Only attacks set it.
    """

    answer: HostileAnswer | None = None

    def train(self, worker: Worker, tasks: Sequence[ClientTask], weights: GlobalWeights) -> list[ClientResult]:
        """Return the results, one client after the other."""
        return [self._of_client(worker, task, weights) for task in tasks]

    def _of_client(self, worker: Worker, task: ClientTask, weights: GlobalWeights) -> ClientResult:
        tail = worker.setup.tail
        ends = copied(held_modules(worker.model, task.tier, tail))
        client = _Client(worker, task, ends, weights)
        middle = _Middle(worker, split(worker.model, task.tier)[1][:-tail], weights, task.lr)
        with isolated(worker.setup.seed, "layers", task.client, task.round):
            for _ in range(task.sends):
                if client.refuses:
                    break
                self._batch(worker, client, middle)
        return client.result(snapshot(middle.modules))

    def _batch(self, worker: Worker, client: _Client, middle: _Middle) -> None:
        """Take one batch through all four crossings."""
        message = client.send()
        outputs = middle.forward(message)
        worker.observe(outputs)
        honest = middle.backward(client.answer(outputs))
        reply = honest if self.answer is None else hostile_reply(message, self.answer)
        worker.observe(reply)
        client.receive(reply)
