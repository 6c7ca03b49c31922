"""Clients' rounds, done by a worker: what a method makes of them is its `LocalWork`.

A worker holds one resident model and one head per tier, whatever the number of clients; each task overwrites their
weights.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtfl_private.data.preprocess import Preprocessor, augment
from dtfl_private.errors import NonFiniteLossError
from dtfl_private.models.copies import copied
from dtfl_private.models.cutting.staged import StagedModel, held_modules
from dtfl_private.models.next_token import next_token_sums, next_tokens
from dtfl_private.models.setting_types import HeadSize
from dtfl_private.numerics import Numerics
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.contracts import IntArray
from dtfl_private.protocol.messages import Message, MessageObserver, ModelDownload, State
from dtfl_private.randomness import Randomness, SeededRandomness
from dtfl_private.simulation.client_workloads import images_in
from dtfl_private.training.client import ClientData
from dtfl_private.training.optimizers import OptimizerSettings
from dtfl_private.training.state import GlobalWeights
from dtfl_private.training.tasks import ClientResult, ClientTask, Evaluation, ImageRange, ImageSet


@dataclass(frozen=True, kw_only=True)
class WorkerSetup:
    """All that a worker needs for a whole run; it can be sent to another process.

    Images and labels are shared between workers, not copied. ``parts`` holds the indices of each client's images,
    ``work`` is the method's part, ``tail`` the number of the network's last modules that clients hold as well,
    ``head_size`` that of the heads. Nobody
    trains on test and validation images; there may be none of the latter.
    """

    work: "LocalWork"
    model: StagedModel
    heads: Mapping[int, nn.Module]
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    parts: Sequence[IntArray]
    normaliser: Preprocessor
    augmentations: Sequence[str]
    optimizer: OptimizerSettings
    batch_size: int
    local_epochs: int
    numerics: Numerics
    defense: DefenseChain
    classes: int
    seed: int
    send_every: int = 1
    tail: int = 0
    head_size: HeadSize = "paper"
    validation_images: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.uint8))
    validation_labels: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))


def honest_download(setup: WorkerSetup, task: ClientTask, weights: GlobalWeights) -> ModelDownload:
    """Return what the protocol sends a client at the start of its round.

    Where there is no auxiliary head, as in SplitFed or in the tier of all L modules, an empty one is sent.
    """
    return ModelDownload(
        client=task.client,
        round=task.round,
        tier=task.tier,
        weights={name: weights.model[name] for name in held_modules(setup.model, task.tier, setup.tail).state_dict()},
        head=weights.heads.get(task.tier, {}),
        wire=task.wire,
    )


InputObserver = Callable[[Tensor, Tensor, Tensor], None]
"""Called with each batch that a client is about to compute with: record numbers (B,), stored images or tokens after
augmentation, uint8 (B, ...), true labels (B,). What no message holds: for ground truth."""


class LocalWork(Protocol):
    """What clients do in a round, and the server for them: the part of a method that workers run. Sent to workers."""

    def train(self, worker: "Worker", tasks: Sequence[ClientTask], weights: GlobalWeights) -> list[ClientResult]:
        """Return the results of clients that are trained together, in the order of the tasks; as a rule of one.

        Raises:
            NonFiniteLossError: a training loss became NaN or infinite.
        """
        ...


class Worker:
    """Runs client tasks and evaluations, one after the other.

    Args:
        setup: what the worker is made of.
        observers: called with each message that leaves a client.
        input_observer: called with what the messages are made of.
        randomness: where clients' chance comes from; None: from the run's seed, as in a simulation.

    Attributes:
        setup: what it is made of.
        randomness: likewise.
        model: the resident network, on the worker's device; whoever uses it loads the weights first.
        heads: the resident auxiliary heads by tier, likewise.
    """

    def __init__(
        self,
        setup: WorkerSetup,
        observers: Sequence[MessageObserver] = (),
        input_observer: InputObserver | None = None,
        randomness: Randomness | None = None,
    ) -> None:
        numerics = setup.numerics
        self.setup = setup
        self.randomness = randomness or SeededRandomness(setup.seed)
        self._not_seeded = randomness
        self._observers = tuple(observers)
        self._input_observer = input_observer
        # Own copies: sending a module to another process makes its tensors shared memory, and two workers must not
        # train the same tensors.
        self.model = numerics.place(copied(setup.model))
        self.heads = {tier: numerics.place(copied(head)) for tier, head in setup.heads.items()}
        self._images = setup.train_images.to(numerics.device)
        self._labels = setup.train_labels.to(numerics.device)
        self._judged: Mapping[ImageSet, tuple[Tensor, Tensor]] = {
            "test": (setup.test_images.to(numerics.device), setup.test_labels),
            "validation": (setup.validation_images.to(numerics.device), setup.validation_labels),
        }
        self._normalise = setup.normaliser.to(numerics.device)

    def client_round(self, task: ClientTask, download: ModelDownload) -> ClientRound:
        """Return the client and round of a task, which opens with this download, as defenses see it."""
        return ClientRound(
            seed=self.setup.seed,
            client=task.client,
            round=task.round,
            tier=task.tier,
            records=len(self.setup.parts[task.client]),
            classes=self.setup.classes,
            device=self.setup.numerics.device,
            profile=task.profile,
            memory={name: tensor.clone() for name, tensor in task.memory.items()},
            download=download,
            occasion="statistics" if task.measures else "round",
            randomness=self._not_seeded,
        )

    def defense_of(self, task: ClientTask) -> DefenseChain:
        """Return what acts at the client of a task, in its tier and with its profile."""
        return self.setup.defense.at(task.tier, task.profile)

    def examples(self, task: ClientTask) -> int:
        """Return how many of its records a client trains on that completes this task: all, unless it stops before."""
        return min(len(self.setup.parts[task.client]), task.batches * self.setup.batch_size)

    def images(self, task: ClientTask) -> int:
        """Return how many images a client trains on that completes this task, each as often as it does."""
        batches, records = np.array([task.batches]), np.array([len(self.setup.parts[task.client])])
        return int(images_in(batches, records, self.setup.batch_size)[0])

    def observe(self, message: Message) -> None:
        """Show the observers a message, as the server receives it."""
        for observer in self._observers:
            observer(message)

    def data(self, task: ClientTask) -> ClientData:
        """Return the client's records in this round: every one once per epoch, in a fresh order each time."""
        setup = self.setup
        part = torch.from_numpy(setup.parts[task.client]).to(self._images.device)
        order = self.randomness.order("order", task.client, task.round)
        chance = self.randomness.generator("augment", task.client, task.round)
        epochs = [torch.from_numpy(order.permutation(len(part))) for _ in range(setup.local_epochs)]

        def fetch(records: Tensor) -> tuple[Tensor, Tensor]:
            index = part[records.to(part.device)]
            images = self._images[index]
            if setup.augmentations:
                images = augment(images, setup.augmentations, chance)
            labels = self._labels[index]
            if self._input_observer is not None:
                self._input_observer(records, images, labels)
            return self._inputs(images), self._next_tokens(images) if self.model.vocabulary is not None else labels

        return ClientData(
            batches=[batch for epoch in epochs for batch in torch.split(epoch, setup.batch_size)],
            fetch=fetch,
        )

    def _inputs(self, images_u8: Tensor) -> Tensor:
        return self.setup.numerics.place_images(self._normalise(images_u8))

    def _next_tokens(self, texts: Tensor) -> Tensor:
        return next_tokens(texts.long(), self.setup.defense.padding)

    def logits(self, model: State, images: ImageRange) -> Tensor:
        """Return what a model says of images in evaluation mode, (N, classes), float64."""
        self.model.load_state_dict(model)
        self.model.eval()
        inputs = self._inputs(self._judged[images.on][0][images.start : images.stop : images.step])
        with torch.no_grad(), self.setup.numerics.autocast():
            logits: Tensor = self.model(inputs)
        return logits.cpu().double()  # MPS has no float64

    def evaluate(self, model: State, images: ImageRange) -> Evaluation:
        """Judge a model on images, in evaluation mode; a language model on all places of texts, which it counts."""
        if self.model.vocabulary is not None:
            return self._over_places(model, images)
        logits = self.logits(model, images)
        labels = self._judged[images.on][1][images.start : images.stop : images.step]
        loss_sum = float(F.cross_entropy(logits, labels, reduction="sum"))
        correct = int((logits.argmax(dim=1) == labels).sum())
        return Evaluation(correct=correct, loss_sum=loss_sum, images=len(labels))

    def _over_places(self, model: State, texts: ImageRange) -> Evaluation:
        """Judge a language model, whose logits are as many as the vocabulary at each place: batch by batch."""
        self.model.load_state_dict(model)
        self.model.eval()
        correct, loss_sum, places = 0, 0.0, 0
        judged = self._judged[texts.on][0][texts.start : texts.stop : texts.step]
        for batch in torch.split(judged, self.setup.batch_size):
            with torch.no_grad(), self.setup.numerics.autocast():
                logits: Tensor = self.model(self._inputs(batch))
            found = next_token_sums(logits, self._next_tokens(batch))
            correct, loss_sum, places = correct + found[0], loss_sum + found[1], places + found[2]
        return Evaluation(correct=correct, loss_sum=loss_sum, images=places)


def require_finite(value: float, task: ClientTask, which: str) -> None:
    """Raise `NonFiniteLossError` if a value of this task is NaN or infinite."""
    # NaN and both infinities fail this comparison.
    if not abs(value) < float("inf"):
        raise NonFiniteLossError(
            f"the {which} of client {task.client} became {value} in round {task.round} "
            f"(tier {task.tier}, lr {task.lr:g}): start again with a lower --lr"
        )
