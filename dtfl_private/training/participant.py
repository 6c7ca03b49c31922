"""A client of a local-loss method in one round: what it sends, and what the server has of it in the end."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch import nn

from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.protection.client_context import Remark
from dtfl_private.protocol.guarantees import Guarantee
from dtfl_private.protocol.messages import ModelDownload, SmashedBatch, State, WeightUpdate
from dtfl_private.training.client import ClientHalf
from dtfl_private.training.server import ServerHalf, TrainedHalf
from dtfl_private.training.state import GlobalWeights
from dtfl_private.training.tasks import ClientResult, ClientTask
from dtfl_private.training.worker import Worker, WorkerSetup, require_finite


class Participant:
    """A client that trains its half by a local loss, with its messages counted and shown to the worker's observers.

    Args:
        worker: that computes.
        task: the client's part of the round.
        modules: md1..md_m, whose weights are overwritten by the download's.
        head: auxiliary head of its tier, likewise.
        download: the server's message that opens the round.

    Attributes:
        task: the client's part of the round.
        remarks: of its guards, about what it was sent.
    """

    def __init__(
        self, worker: Worker, task: ClientTask, modules: StagedModel, head: nn.Module, download: ModelDownload
    ) -> None:
        setup = worker.setup
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
        self._stopped_after: int | None = None

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

    @property
    def images(self) -> int:
        """How many images it has trained on, each as often as it did."""
        return self._worker.images(self.task) if self._stopped_after is None else self._stopped_after

    def stop_after(self, images: int) -> None:
        """Let it end its round now, before it is done, after so many images."""
        self._stopped_after = images

    def update(self, *, whatever_loss: bool = False) -> WeightUpdate | None:
        """Return the message that closes its round; None if it drops out or refuses.

        Args:
            whatever_loss: close it also where its loss is NaN or infinite: that it is must not show.

        Raises:
            NonFiniteLossError: its loss is NaN or infinite.
        """
        if not whatever_loss:
            require_finite(self._half.mean_loss, self.task, "local loss")
        if self.refuses or not self.task.completes:
            return None
        update = self._half.update()
        if self._stopped_after is not None:
            update = replace(update, examples=min(update.examples, self._stopped_after))
        self._traffic["up_weights"] = update.weight_bytes
        self._worker.observe(update)
        return update

    def remembered(self) -> State:
        """Return what its defenses keep for its next round: if it drops out, what they had before."""
        return self._at.remembered() if self.task.completes else self.task.memory

    def guarantees(self) -> Sequence[Guarantee]:
        """Return what its defenses guarantee of what it has sent so far."""
        return self._half.guarantees()

    def result(self, server: ServerHalf) -> ClientResult:
        """Close the round, behind the server's modules as they are now.

        Raises:
            NonFiniteLossError: a loss or a weight is NaN or infinite.
        """
        task, update = self.task, self.update()
        model, head = joined(task, update, server)
        return ClientResult(
            client=task.client,
            tier=task.tier,
            examples=update.examples if update is not None else 0,
            model=model,
            head=head,
            local_loss=self._half.mean_loss,
            server_loss=server.mean_loss(task.client),
            traffic=self._traffic,
            memory=self.remembered(),
            remarks=self.remarks,
            guarantees=self.guarantees(),
        )


def joined(task: ClientTask, update: WeightUpdate | None, server: TrainedHalf) -> tuple[State, State]:
    """Return the whole model, a client's modules before the server's, and the auxiliary head; empty without an update.

    Raises:
        NonFiniteLossError: the server's loss or a weight is NaN or infinite.
    """
    require_finite(server.mean_loss(task.client), task, "server loss")
    if update is None:
        return {}, {}
    behind = {name: tensor for name, tensor in server.weights().items() if name not in update.weights}
    model, head = {**update.weights, **behind}, update.head
    # The last step of a round shows in no loss.
    require_finite(sum(float(w.abs().max()) for w in [*model.values(), *head.values()]), task, "largest weight")
    return model, head


def server_half(setup: WorkerSetup, task: ClientTask, modules: StagedModel, weights: GlobalWeights) -> ServerHalf:
    """Return the server's modules behind a task's cut, to be trained for this round."""
    return ServerHalf(
        modules=modules,
        tier=task.tier,
        weights={name: weights.model[name] for name in modules.state_dict()},
        optimizer=setup.optimizer,
        lr=task.lr,
        numerics=setup.numerics,
        defense=setup.defense.at(task.tier, task.profile),
    )
