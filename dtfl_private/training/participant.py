"""A client of a local-loss method in one round: what it sends, and what the server has of it in the end."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch import nn

from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.protection.client_context import Remark
from dtfl_private.protocol.messages import SmashedBatch, State
from dtfl_private.training.client import ClientHalf
from dtfl_private.training.server import ServerHalf
from dtfl_private.training.state import GlobalWeights
from dtfl_private.training.tasks import ClientResult, ClientTask
from dtfl_private.training.worker import Worker, honest_download, require_finite


class Participant:
    """A client that trains its half by a local loss, with its messages counted and shown to the worker's observers.

    Args:
        worker: that computes.
        task: the client's part of the round.
        modules: md1..md_m, whose weights are overwritten.
        head: auxiliary head of its tier, likewise.
        weights: that the round begins with.

    Attributes:
        task: the client's part of the round.
        remarks: of its guards, about what it was sent.
    """

    def __init__(
        self, worker: Worker, task: ClientTask, modules: StagedModel, head: nn.Module, weights: GlobalWeights
    ) -> None:
        setup = worker.setup
        download = honest_download(setup, task, weights)
        self.task = task
        self.defense = worker.defense_of(task)
        self._worker = worker
        self._at = worker.client_round(task, download)
        self._traffic = {"down_weights": download.weight_bytes, "up_weights": 0, "up_smashed": 0, "up_labels": 0}
        self._half = ClientHalf(
            download=download,
            modules=modules,
            head=head,
            optimizer=setup.optimizer,
            lr=task.lr,
            batch_size=setup.batch_size,
            local_epochs=setup.local_epochs,
            send_every=setup.send_every,
            examples=worker.examples(task),
            numerics=setup.numerics,
            defense=self.defense.on_wire(task.wire),
            at=self._at,
        )
        self.remarks: Sequence[Remark] = self._half.inspect()

    @property
    def refuses(self) -> bool:
        """Whether it takes no part, because of what it was sent."""
        return any(remark.refuses for remark in self.remarks)

    def messages(self) -> Iterator[SmashedBatch]:
        """Yield what it sends as it trains; nothing if it refuses."""
        if self.refuses:
            return
        most = None if self.task.completes else self.task.sends
        data = self._worker.data(self.task)
        if not self.defense.releases_apart:  # such a client trains on everything before it sends
            data = replace(data, batches=data.batches[: self.task.batches])
        for message in self._half.train(data, most):
            self._traffic["up_smashed"] += message.smashed_bytes
            self._traffic["up_labels"] += message.label_bytes
            self._worker.observe(message)
            yield message

    def result(self, server: ServerHalf) -> ClientResult:
        """Close the round, behind the server's modules as they are now.

        Raises:
            NonFiniteLossError: a loss or a weight is NaN or infinite.
        """
        task, half = self.task, self._half
        update = half.update() if task.completes and not self.refuses else None
        server_loss = server.mean_loss(task.client)
        require_finite(half.mean_loss, task, "local loss")
        require_finite(server_loss, task, "server loss")
        model: State = {}
        head: State = {}
        if update is not None:
            self._traffic["up_weights"] = update.weight_bytes
            self._worker.observe(update)
            behind = {name: tensor for name, tensor in server.weights().items() if name not in update.weights}
            model, head = {**update.weights, **behind}, update.head
            # The last step of a round shows in no loss.
            require_finite(sum(float(w.abs().max()) for w in [*model.values(), *head.values()]), task, "largest weight")
        return ClientResult(
            client=task.client,
            tier=task.tier,
            examples=update.examples if update is not None else 0,
            model=model,
            head=head,
            local_loss=half.mean_loss,
            server_loss=server_loss,
            traffic=self._traffic,
            memory=self._at.remembered() if task.completes else task.memory,
            remarks=self.remarks,
            guarantees=half.guarantees(),
        )


def server_half(worker: Worker, task: ClientTask, modules: StagedModel, weights: GlobalWeights) -> ServerHalf:
    """Return the server's modules behind a task's cut, to be trained for this round."""
    setup = worker.setup
    return ServerHalf(
        modules=modules,
        tier=task.tier,
        weights={name: weights.model[name] for name in modules.state_dict()},
        optimizer=setup.optimizer,
        lr=task.lr,
        numerics=setup.numerics,
        defense=worker.defense_of(task),
    )
