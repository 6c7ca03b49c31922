"""One client's round, done by a worker: the client half and, on its messages, the server half.

A worker holds one resident model and one head per tier, whatever the number of clients; each task overwrites their
weights. The two halves are cut from the resident model, so that joining them needs no copying of modules.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtfl_private.contracts import IntArray
from dtfl_private.data.preprocess import Preprocessor, augment
from dtfl_private.defense import ClientRound, DefenseChain, Remark
from dtfl_private.errors import NonFiniteLossError
from dtfl_private.federated.client import ClientData, ClientHalf
from dtfl_private.federated.optimizers import OptimizerSettings
from dtfl_private.federated.server import ServerHalf
from dtfl_private.guarantees import Guarantee
from dtfl_private.messages import MessageObserver, ModelDownload, State
from dtfl_private.models.staged import StagedModel, split
from dtfl_private.numerics import Numerics
from dtfl_private.randomness import isolated, stream, torch_stream


@dataclass(frozen=True, kw_only=True)
class GlobalWeights:
    """What the server keeps between rounds: the global model and one auxiliary head per tier."""

    model: State
    heads: Mapping[int, State]


@dataclass(frozen=True, kw_only=True)
class WorkerSetup:
    """All that a worker needs for a whole run; it can be sent to another process.

    Images and labels are shared between workers, not copied. ``parts`` holds the indices of each client's images.
    """

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


@dataclass(frozen=True, kw_only=True)
class ClientTask:
    """One client's part of a round.

    ``batches`` is how many it sends, ``completes`` false if it then vanishes; ``memory`` is what its defenses kept.
    """

    client: int
    round: int
    tier: int
    lr: float
    batches: int
    completes: bool
    memory: State = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ClientResult:
    """What the server has of a client at the end of a round.

    ``model`` is the joined full model and ``head`` the auxiliary head; both are empty when the client vanished or
    refused. ``traffic`` counts the bytes of the messages as they were sent, by kind. The losses are the simulator's own
    figures: they are in no message, and a real server would not see the local one. Nor would it see ``memory``, what
    the client's defenses keep for its next round, and ``remarks`` of its guards; ``guarantees`` hold of what was sent.
    """

    client: int
    tier: int
    examples: int
    model: State
    head: State
    local_loss: float
    server_loss: float
    traffic: Mapping[str, int]
    memory: State = field(default_factory=dict)
    remarks: Sequence[Remark] = ()
    guarantees: Sequence[Guarantee] = ()


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Sums over test images: correct answers, cross-entropy, images."""

    correct: int
    loss_sum: float
    images: int


InputObserver = Callable[[Tensor, Tensor, Tensor], None]
"""Called with each batch that a client is about to compute with: record numbers (B,), stored images or tokens after
augmentation, uint8 (B, ...), true labels (B,). What no message holds: for ground truth."""


class Worker:
    """Runs client tasks and evaluations, one after the other.

    Args:
        setup: of the run.
        observers: called with each message that leaves a client.
        input_observer: called with what the messages are made of.
    """

    def __init__(
        self,
        setup: WorkerSetup,
        observers: Sequence[MessageObserver] = (),
        input_observer: InputObserver | None = None,
    ) -> None:
        numerics = setup.numerics
        self._setup = setup
        self._observers = tuple(observers)
        self._input_observer = input_observer
        # Own copies: sending a module to another process makes its tensors shared memory, and two workers must not
        # train the same tensors.
        self._model = numerics.place(copy.deepcopy(setup.model))
        self._heads = {tier: numerics.place(copy.deepcopy(head)) for tier, head in setup.heads.items()}
        self._images = setup.train_images.to(numerics.device)
        self._labels = setup.train_labels.to(numerics.device)
        self._test_images = setup.test_images.to(numerics.device)
        self._normalise = setup.normaliser.to(numerics.device)

    def train(self, task: ClientTask, weights: GlobalWeights) -> ClientResult:
        """Run one client's round from the given global weights.

        Raises:
            NonFiniteLossError: the local or the server loss became NaN or infinite.
        """
        setup = self._setup
        client_modules, server_modules = split(self._model, task.tier)
        download = ModelDownload(
            client=task.client,
            round=task.round,
            tier=task.tier,
            weights={name: weights.model[name] for name in client_modules.state_dict()},
            head=weights.heads[task.tier],
        )
        at = ClientRound(
            seed=setup.seed,
            client=task.client,
            round=task.round,
            tier=task.tier,
            records=len(setup.parts[task.client]),
            classes=setup.classes,
            device=setup.numerics.device,
            memory={name: tensor.clone() for name, tensor in task.memory.items()},
        )
        client = ClientHalf(
            download=download,
            modules=client_modules,
            head=self._heads[task.tier],
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
                for message in client.train(self._data(task), task.batches):
                    traffic["up_smashed"] += message.smashed_bytes
                    traffic["up_labels"] += message.label_bytes
                    for observer in self._observers:
                        observer(message)
                    server.train_on(message)
                update = client.update() if task.completes else None
        _require_finite(client.mean_loss, task, "local loss")
        _require_finite(server.mean_loss, task, "server loss")
        model: State = {}
        head: State = {}
        if update is not None:
            traffic["up_weights"] = update.weight_bytes
            for observer in self._observers:
                observer(update)
            model, head = {**update.weights, **server.weights()}, update.head
            # The last step of a round shows in no loss.
            _require_finite(
                sum(float(w.abs().max()) for w in [*model.values(), *head.values()]), task, "largest weight"
            )
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

    def _data(self, task: ClientTask) -> ClientData:
        """Return the client's records in this round: every one once per epoch, in a fresh order each time."""
        setup = self._setup
        part = torch.from_numpy(setup.parts[task.client]).to(self._images.device)
        order = stream(setup.seed, "order", task.client, task.round)
        chance = torch_stream(setup.seed, "augment", task.client, task.round)
        epochs = [torch.from_numpy(order.permutation(len(part))) for _ in range(setup.local_epochs)]

        def fetch(records: Tensor) -> tuple[Tensor, Tensor]:
            index = part[records.to(part.device)]
            images = self._images[index]
            if setup.augmentations:
                images = augment(images, setup.augmentations, chance)
            labels = self._labels[index]
            if self._input_observer is not None:
                self._input_observer(records, images, labels)
            return self._inputs(images), labels

        return ClientData(
            batches=[batch for epoch in epochs for batch in torch.split(epoch, setup.batch_size)],
            fetch=fetch,
        )

    def _inputs(self, images_u8: Tensor) -> Tensor:
        return self._setup.numerics.place_images(self._normalise(images_u8))

    def evaluate(self, start: int, stop: int, model: State) -> Evaluation:
        """Judge a model on test images ``start`` to ``stop``, in evaluation mode."""
        self._model.load_state_dict(model)
        self._model.eval()
        labels = self._setup.test_labels[start:stop]
        with torch.no_grad(), self._setup.numerics.autocast():
            logits = self._model(self._inputs(self._test_images[start:stop])).cpu().double()  # MPS has no float64
        loss_sum = float(F.cross_entropy(logits, labels, reduction="sum"))
        correct = int((logits.argmax(dim=1) == labels).sum())
        return Evaluation(correct=correct, loss_sum=loss_sum, images=len(labels))


def _require_finite(value: float, task: ClientTask, which: str) -> None:
    # NaN and both infinities fail this comparison.
    if not abs(value) < float("inf"):
        raise NonFiniteLossError(
            f"the {which} of client {task.client} became {value} in round {task.round} "
            f"(tier {task.tier}, lr {task.lr:g}): start again with a lower --lr"
        )
