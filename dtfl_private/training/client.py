"""The client's side of a round: train md1..md_m and the auxiliary head by a local loss, emit messages."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import torch
from torch import Tensor, nn

from dtfl_private.models.cutting.staged import StagedModel, snapshot
from dtfl_private.numerics import Numerics
from dtfl_private.protection.client_context import ClientRound, LocalStep, LocalTraining, Remark
from dtfl_private.protection.defense_chain import DefenseChain, full_round
from dtfl_private.protocol.guarantees import Guarantee
from dtfl_private.protocol.messages import ModelDownload, SmashedBatch, WeightUpdate
from dtfl_private.training.optimizers import OptimizerSettings, make_optimizer


@dataclass(frozen=True, kw_only=True)
class ClientData:
    """A client's records in one round.

    Attributes:
        batches: record numbers (B,) within 0..N_k-1 of each batch, in the order in which the client trains on them.
        fetch: from record numbers to (inputs (B, *input shape), labels (B,)).
    """

    batches: Sequence[Tensor]
    fetch: Callable[[Tensor], tuple[Tensor, Tensor]]


class ClientHalf:
    """A client in one round. All that leaves it passes its defenses and is a message.

    Args:
        download: the server's message that opens the round.
        modules: md1..md_m, whose weights are overwritten by the download's.
        head: auxiliary head of the tier, likewise.
        optimizer: kind and constants of the optimiser, which lives for this round.
        lr: the round's learning rate.
        batch_size: images per batch.
        local_epochs: passes over the records in a round.
        send_every: of its batches it sends the first, and every so many-th after it.
        examples: of its records those that it trains on; by default all.
        numerics: device and precision.
        defense: rewrites what leaves the client.
        at: client and round, with the defenses' chance and memory.
    """

    def __init__(
        self,
        *,
        download: ModelDownload,
        modules: StagedModel,
        head: nn.Module,
        optimizer: OptimizerSettings,
        lr: float,
        batch_size: int,
        local_epochs: int,
        send_every: int = 1,
        examples: int | None = None,
        numerics: Numerics,
        defense: DefenseChain,
        at: ClientRound,
    ) -> None:
        modules.load_state_dict(download.weights)
        head.load_state_dict(download.head)
        self._download = download
        self._modules = modules.train()
        self._head = head.train()
        self._optimizer = make_optimizer([*modules.parameters(), *head.parameters()], optimizer, lr)
        self._batch_size = batch_size
        self._local_epochs = local_epochs
        self._send_every = send_every
        self._examples = at.records if examples is None else examples
        self._numerics = numerics
        self._defense = defense
        self._at = at
        self._losses: list[Tensor] = []
        self._sent_batches = 0
        self._sent_update = False

    def inspect(self) -> Sequence[Remark]:
        """Return what the client-side guards say of the download, before it is used."""
        return self._defense.inspect(self._download, self._at)

    def train(self, data: ClientData, messages: int | None = None) -> Iterator[SmashedBatch]:
        """Return what leaves the client as it trains; with a number of messages it drops out after so many.

        As a rule a message holds the activations of the very forward pass that the local loss was computed from. With
        defenses that release apart, the client trains first, and then sends each record once, its weights frozen; the
        training of one that drops out before its first message is lost, and left out here.
        """
        everything = self._release(data) if self._defense.releases_apart else self._train_and_send(data)
        return everything if messages is None else islice(everything, messages)

    def _train_and_send(self, data: ClientData) -> Iterator[SmashedBatch]:
        for number, records in enumerate(data.batches):
            inputs, labels = self._fetch(data, records)
            at = self._at.during(self._modules, inputs)
            smashed = self._step(inputs, labels, at)
            if number % self._send_every == 0:
                yield self._message(number, smashed, labels, at)

    def _release(self, data: ClientData) -> Iterator[SmashedBatch]:
        training = LocalTraining(
            modules=nn.ModuleList([self._modules, self._head]),
            mean_loss=self._mean_loss,
            fetch=partial(self._fetch, data),
            optimizer=self._optimizer,
            records=self._at.records,
            batch_size=self._batch_size,
            steps=len(data.batches),
            numerics=self._numerics,
        )
        losses = self._defense.training_pass(training, self._at)
        if losses is None:
            for records in data.batches:
                inputs, labels = self._fetch(data, records)
                self._step(inputs, labels, self._at.during(self._modules, inputs))
        else:
            self._losses += losses
        self._modules.eval()
        once = islice(data.batches, len(data.batches) // self._local_epochs)
        for number, records in enumerate(once):
            inputs, labels = self._fetch(data, records)
            at = self._at.during(self._modules, inputs)
            with torch.no_grad(), self._numerics.autocast():
                smashed = self._defense.encode(self._modules(inputs), at)
            yield self._message(number, smashed, labels, at)

    def _fetch(self, data: ClientData, records: Tensor) -> tuple[Tensor, Tensor]:
        inputs, labels = data.fetch(records)
        labels = self._defense.protect_labels(labels, records, self._at)
        return self._defense.protect_inputs(inputs, self._at.fetching(records)), labels

    def _mean_loss(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the local loss of a batch, for a defense that trains the client half itself."""
        return self._loss(inputs, labels, self._at.during(self._modules, inputs))[0]

    def _loss(self, inputs: Tensor, labels: Tensor, at: ClientRound) -> tuple[Tensor, Tensor]:
        """Return the local loss of a batch and its activations at the cut, both on the tape."""
        with self._numerics.autocast():
            smashed = self._defense.encode(self._modules(inputs), at)
            logits = self._head(smashed)
            loss = self._defense.classification_loss(logits, labels)
        real = self._defense.real_places(at)
        step = LocalStep(inputs=inputs, smashed=smashed, logits=logits, labels=labels, real=real)
        return self._defense.local_loss(loss, step, at), smashed

    def _step(self, inputs: Tensor, labels: Tensor, at: ClientRound) -> Tensor:
        """Take one local step and return the activations of its forward pass."""
        loss, smashed = self._loss(inputs, labels, at)
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        self._optimizer.step()
        self._losses.append(loss.detach())
        return smashed

    def _message(self, number: int, smashed: Tensor, labels: Tensor, at: ClientRound) -> SmashedBatch:
        message = SmashedBatch(
            client=self._download.client,
            round=self._download.round,
            tier=self._download.tier,
            batch=number,
            smashed=smashed.detach().to(self._numerics.wire_dtype),
            labels=labels,
        )
        self._sent_batches += 1
        return self._defense.protect_batch(message, at)

    def update(self) -> WeightUpdate:
        """Return the message that closes the round."""
        message = WeightUpdate(
            client=self._download.client,
            round=self._download.round,
            tier=self._download.tier,
            examples=self._examples,
            weights=snapshot(self._modules),
            head=snapshot(self._head),
        )
        self._sent_update = True
        return self._defense.protect_update(message, self._at)

    def guarantees(self) -> Sequence[Guarantee]:
        """Return what the defenses guarantee of what has been sent so far."""
        return self._defense.guarantees(
            full_round(
                self._defense,
                records=self._at.records,
                batch_size=self._batch_size,
                local_epochs=self._local_epochs,
                batches=self._sent_batches > 0,
                update=self._sent_update,
            )
        )

    @property
    def mean_loss(self) -> float:
        """Mean local loss over the batches so far; 0 before the first."""
        return float(torch.stack(self._losses).cpu().double().mean()) if self._losses else 0.0
