"""All that there is to see for an adversary, part by part: the attacked round, the network, data, the training.

Each part is there as a whole or not at all. Ground truth is in none of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn

from dtfl_private.attacking.program import ClientProgram
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.messages import ModelDownload, Seen, State
from dtfl_private.protocol.vocabulary import Vocabulary
from dtfl_private.training.optimizers import OptimizerName, OptimizerSettings


@dataclass(frozen=True, kw_only=True)
class Auxiliary:
    """The adversary's own labelled images, split into a part to train on and a part to tune and stop early by.

    Images are (N, C, H, W) float32 in [0, 1], labels (N,) int64, on the CPU. Where inputs are tokens, ``images`` are
    sequences (N, T) int64, which the number ``padding`` fills up, if there is one.
    """

    name: str
    images: Tensor
    labels: Tensor
    validation_images: Tensor
    validation_labels: Tensor
    padding: int | None = None


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Records of which the adversary wants to know whether they were trained on: images and labels, in random order."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True, kw_only=True)
class LocalSteps:
    """How a client trains.

    ``adam`` or ``sgd``, learning rate of the round, momentum (sgd only), weight decay; mu of FedProx's term, which
    holds the weights near the download; records of a batch, by default all that the client has; passes over them; of
    how many batches one is sent.
    """

    optimizer: str
    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    proximal: float = 0.0
    batch_size: int | None = None
    epochs: int = 1
    send_every: int = 1

    @property
    def settings(self) -> OptimizerSettings:
        """Kind of optimiser and its constants."""
        name: OptimizerName = "adam" if self.optimizer == "adam" else "sgd"
        return OptimizerSettings(name=name, momentum=self.momentum, weight_decay=self.weight_decay)


class Shadows(Protocol):
    """Training runs of the adversary's own, like the victim's, on records of its choice."""

    def train(self, name: str, images: Tensor, labels: Tensor) -> State:
        """Return the final global model of a federated run on these images (N, C, H, W) in [0, 1]; cached by name."""
        ...


class Logits(Protocol):
    """The whole network as a function."""

    def __call__(self, model: State, images: Tensor) -> Tensor:
        """Return logits (N, classes) of images (N, C, H, W) in [0, 1] under a model's weights, in evaluation mode."""
        ...


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """A network that a client is never sent: what the program begins every run with, and the training since.

    Attributes:
        download: weights and auxiliary head of the beginning.
        steps: optimiser steps that the client has taken, up to what it sent.
    """

    download: ModelDownload
    steps: int


@dataclass(frozen=True, kw_only=True)
class AttackedRound:
    """The round that is attacked, as the server sees it.

    Attributes:
        seen: clients' rounds that hold the victims, in the victims' order; empty before the clients have played.
        earlier: what else these clients sent of the same records: in earlier rounds, in order of time, and in further
            epochs of the same one, each time a record at most once. Only for attacks that look back.
        local_steps: how the clients trained in it.
        server_half: a fresh copy of the server's half of the network, with the weights that the round began with; None
            where they are not known: they are kept for the last round only.
        replies_to: the gradients at the cut (B, *cut shape) that the server returns to a client with a batch of images
            and labels, with its half as the round began; None where it returns none, or its half is not known.
        beginnings: by client, where clients keep networks that the server never sends.
        tail: a fresh copy of the last modules that clients keep, with any weights; None where they keep none.
        summed: of how many clients the one update is the sum; 1 where each client's is its own.
        begun: what clients were sent and trained from, by client, where ``seen`` has the weights under which they sent.
    """

    seen: Sequence[Seen]
    earlier: Sequence[Seen] = ()
    local_steps: LocalSteps
    server_half: Callable[[], nn.Module] | None = None
    replies_to: Callable[[Tensor, Tensor], Tensor] | None = None
    tail: Callable[[], nn.Module] | None = None
    beginnings: Mapping[int, Beginning] = field(default_factory=dict)
    begun: Mapping[int, ModelDownload] = field(default_factory=dict)
    summed: int = 1


@dataclass(frozen=True, kw_only=True)
class Network:
    """The network, cut at the victims' tier, and what clients do around it.

    Attributes:
        program: of a client half, by a client's round, whether defenses are taken into account, and the seed of the
            adversary's draws; a fresh copy.
        input_shape: (C, H, W) of an image, or (T,) of a sequence.
        classes: number of classes.
        tier: client modules m.
        cut_shape: shape of one record's activations.
        defense: the clients', by settings.
        augmentations: of the clients' training images, by name; see `dtfl_private.data.preprocess.augment`.
        records: training examples of all clients, as the weights of their averages add up.
        device: where to compute.
        vocabulary: what the numbers of sequences mean; None of images.
    """

    program: Callable[[Seen, bool, int], ClientProgram]
    input_shape: tuple[int, ...]
    classes: int
    tier: int
    cut_shape: tuple[int, ...]
    defense: DefenseChain = field(default_factory=DefenseChain)
    augmentations: Sequence[str] = ()
    records: int = 0
    device: str = "cpu"
    vocabulary: Vocabulary | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingKnowledge:
    """What can be known of the training as a whole.

    Attributes:
        initial_model: the global model that the attacked round began with.
        final_model: the global model after the last round.
        logits: the whole network, under any weights.
        honest: what the protocol sends one of the clients in the attacked round, by tier.
        shadows: training runs of the adversary's own.
    """

    initial_model: State
    final_model: State
    logits: Logits
    honest: Callable[[int], ModelDownload]
    shadows: Shadows


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that there is to see; a `View` hands out the part of it that an adversary has.

    Attributes:
        round: that is attacked.
        network: and the clients' program.
        auxiliary: the adversary's data; None if it has none.
        training: None if the victims' messages are of no training.
        candidates: for membership inference; None before the clients have played.
    """

    round: AttackedRound
    network: Network
    auxiliary: Auxiliary | None
    training: TrainingKnowledge | None = None
    candidates: Candidates | None = None
