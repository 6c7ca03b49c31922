"""A client whose modules are trained by gradients that come back from the server, batch by batch."""

from typing import ClassVar

import torch
from torch import Tensor

from dtfl_private.models.cutting.staged import StagedModel, snapshot
from dtfl_private.protection.client_context import Remark
from dtfl_private.protection.defense_chain import full_round
from dtfl_private.protocol.messages import GradientReply, ModelDownload, SmashedBatch, State, WeightUpdate
from dtfl_private.training.optimizers import make_optimizer
from dtfl_private.training.state import GlobalWeights
from dtfl_private.training.tasks import ClientResult, ClientTask
from dtfl_private.training.worker import Worker, require_finite


class SplitClient:
    """A client in one round whose modules are trained by the gradients that the server returns: SplitFed's.

    Args:
        worker: that computes.
        task: the client's part of the round.
        modules: that it holds, whose weights are overwritten: md1..md_m, and whatever a subclass has behind them.
        weights: that the round begins with.

    Attributes:
        task: the client's part of the round.
        losses: of its batches so far, each a scalar.
        defense: what acts at this client.
        remarks: of its guards, about what it was sent.
    """

    counts: ClassVar[tuple[str, ...]] = ("up_weights", "up_smashed", "up_labels", "down_gradients")
    sends_labels: ClassVar[bool] = True

    def __init__(self, worker: Worker, task: ClientTask, modules: StagedModel, weights: GlobalWeights) -> None:
        modules.load_state_dict({name: weights.model[name] for name in modules.state_dict()})
        self.task = task
        self.losses: list[Tensor] = []
        self.traffic = dict.fromkeys(self.counts, 0)
        self._worker = worker
        self.defense = worker.defense_of(task)
        self._modules = modules.train()
        self._first = modules[: task.tier]
        self._optimizer = make_optimizer(modules.parameters(), worker.setup.optimizer, task.lr)
        self._data = worker.data(task)
        self._sent_batches = 0
        self._smashed: Tensor | None = None
        self._labels: Tensor | None = None
        download = ModelDownload(
            client=task.client, round=task.round, tier=task.tier, weights=snapshot(modules), head={}
        )
        self.traffic["down_weights"] = download.weight_bytes
        self._at = worker.client_round(task, download)
        self.remarks: list[Remark] = list(self.defense.inspect(download, self._at))

    @property
    def refuses(self) -> bool:
        """Whether it takes no part, or no further one."""
        return any(remark.refuses for remark in self.remarks)

    def send(self) -> SmashedBatch:
        """Compute the next batch up to the cut."""
        records = self._data.batches[self._sent_batches]
        inputs, labels = self._data.fetch(records)
        labels = self.defense.protect_labels(labels, records, self._at)
        at = self._at.during(self._first, inputs)
        numerics = self._worker.setup.numerics
        with numerics.autocast():
            self._smashed = self.defense.encode(self._first(inputs), at)
        message = SmashedBatch(
            client=self.task.client,
            round=self.task.round,
            tier=self.task.tier,
            batch=self._sent_batches,
            smashed=self._smashed.detach().to(numerics.wire_dtype),
            labels=labels if self.sends_labels else torch.zeros_like(labels),
            labelled=self.sends_labels,
        )
        message = self.defense.written(message)
        self._labels = labels
        self._sent_batches += 1
        self._optimizer.zero_grad()
        self.traffic["up_smashed"] += message.smashed_bytes
        self.traffic["up_labels"] += message.label_bytes
        self._worker.observe(message)
        return message

    def receive(self, reply: GradientReply) -> None:
        """Finish the batch under way with the server's gradient, and take a step, unless a guard refuses it."""
        assert self._smashed is not None
        assert self._labels is not None
        self.traffic["down_gradients"] += reply.gradient_bytes
        self.remarks += self.defense.inspect_reply(reply, self._labels, self._at)
        if self.refuses:
            return
        torch.autograd.backward(self._smashed, reply.gradient.to(self._smashed.dtype))
        self._optimizer.step()
        self._smashed = None

    @property
    def mean_loss(self) -> float:
        """Mean loss over the batches so far; 0 before the first."""
        return float(torch.stack(self.losses).cpu().double().mean()) if self.losses else 0.0

    def result(self, server: State) -> ClientResult:
        """Close the round with the server's modules as they are now."""
        task, setup, update, loss = self.task, self._worker.setup, None, self.mean_loss
        require_finite(loss, task, "training loss")
        model: State = {}
        if task.completes and not self.refuses:
            update = self._update()
            model = {**update.weights, **server}
            require_finite(sum(float(w.abs().max()) for w in model.values()), task, "largest weight")
        released = full_round(
            self.defense,
            records=self._at.records,
            batch_size=setup.batch_size,
            local_epochs=setup.local_epochs,
            batches=self._sent_batches > 0,
            update=update is not None,
        )
        return ClientResult(
            client=task.client,
            tier=task.tier,
            examples=self._at.records if update is not None else 0,
            model=model,
            head={},
            local_loss=None,
            server_loss=loss,
            traffic=self.traffic,
            memory=self._at.remembered() if task.completes else task.memory,
            remarks=self.remarks,
            guarantees=self.defense.guarantees(released),
        )

    def _update(self) -> WeightUpdate:
        update = WeightUpdate(
            client=self.task.client,
            round=self.task.round,
            tier=self.task.tier,
            examples=self._at.records,
            weights=snapshot(self._modules),
            head={},
        )
        update = self.defense.protect_update(update, self._at)
        self.traffic["up_weights"] = update.weight_bytes
        self._worker.observe(update)
        return update
