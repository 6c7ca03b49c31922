"""What an attack gets to see, and nothing else: messages, the client's program, auxiliary data, chance.

Ground truth is not in it. What the adversary does not have raises an error when an attack asks for it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from dtfl_private.attacking.program import ClientProgram, Receive
from dtfl_private.errors import InputError
from dtfl_private.protection.chain import DefenseChain
from dtfl_private.protocol.messages import ModelDownload, Seen, SmashedBatch, State, WeightUpdate
from dtfl_private.protocol.threat import Adversary, AuxiliaryKind, Capability, require
from dtfl_private.randomness import stream, torch_stream


@dataclass(frozen=True, kw_only=True)
class Auxiliary:
    """The adversary's own labelled images, split into a part to train on and a part to tune and stop early by.

    Images are (N, C, H, W) float32 in [0, 1], labels (N,) int64, on the CPU.
    """

    name: str
    images: Tensor
    labels: Tensor
    validation_images: Tensor
    validation_labels: Tensor


@dataclass(frozen=True, kw_only=True)
class LocalSteps:
    """How a client trains: ``adam`` or ``sgd``, learning rate of the round, momentum (sgd only), weight decay."""

    optimizer: str
    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Records of which the adversary wants to know whether they were trained on: images and labels, in random order."""

    images: Tensor
    labels: Tensor


class Shadows(Protocol):
    """Training runs of the adversary's own, like the victim's, on records of its choice."""

    def train(self, name: str, images: Tensor, labels: Tensor) -> State:
        """Return the final global model of a federated run on these images (N, C, H, W) in [0, 1]; kept by name."""
        ...


class Logits(Protocol):
    """The whole network as a function."""

    def __call__(self, model: State, images: Tensor) -> Tensor:
        """Return logits (N, classes) of images (N, C, H, W) in [0, 1] under a model's weights, in evaluation mode."""
        ...


Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""

Keep = Callable[[str, Callable[[], Mapping[str, Tensor]]], Mapping[str, Tensor]]
"""Return tensors kept under a name, or make and keep them: of long work that other attacks share, or that is to
survive an interruption."""


def show_nothing(done: int, total: int) -> None:
    """Do nothing."""


def keep_nothing(
    name: str,  # noqa: ARG001 - part of every `Keep`'s signature, unused here
    make: Callable[[], Mapping[str, Tensor]],
) -> Mapping[str, Tensor]:
    """Make the tensors anew each time."""
    return make()


@dataclass(frozen=True, kw_only=True)
class Background:
    """All that there is to see; a `View` hands out the part of it that an adversary has.

    Attributes:
        seen: clients' rounds that hold the victims, in the victims' order.
        earlier: what else these clients sent of the same records: in earlier rounds, in order of time, and in further
            epochs of the same one, each time a record at most once. Only for attacks that look back.
        program: of a client half, by a client's round and whether defenses are taken into account; a fresh copy.
        honest: what the protocol sends one of the clients in the round of ``seen``, by tier.
        auxiliary: the adversary's data.
        final_model: the global model after the last round.
        initial_model: the global model that the round of ``seen`` began with.
        initial_heads: the auxiliary heads of that round, by tier.
        candidates: for membership inference.
        shadows: training runs of the adversary's own.
        logits: the whole network.
        input_shape: (C, H, W) of an image.
        classes: number of classes.
        tier: client modules m.
        cut_shape: shape of one record's activations.
        defense: the clients', by settings.
        server_half: a fresh copy of the server's half of the network, with the weights of the round of ``seen``.
        local_steps: how the clients trained in the round of ``seen``.
        augmentations: of the clients' training images, by name; see `dtfl_private.data.preprocess.augment`.
        records: training examples of all clients, as the weights of their averages add up.
    """

    seen: Sequence[Seen]
    earlier: Sequence[Seen] = ()
    program: Callable[[Seen, bool, int], ClientProgram]
    honest: Callable[[int], ModelDownload] | None = None
    auxiliary: Auxiliary | None
    final_model: State = field(default_factory=dict)
    initial_model: State = field(default_factory=dict)
    initial_heads: Mapping[int, State] = field(default_factory=dict)
    candidates: Candidates | None = None
    shadows: Shadows | None = None
    logits: Logits | None = None
    input_shape: tuple[int, ...]
    classes: int
    tier: int
    cut_shape: tuple[int, ...]
    defense: DefenseChain = field(default_factory=DefenseChain)
    server_half: Callable[[], nn.Module] | None = None
    local_steps: LocalSteps | None = None
    augmentations: Sequence[str] = ()
    records: int = 0
    device: str = "cpu"


def once_only(attack: str, tier: int) -> InputError:
    """Return the error for an attack that needs several releases of a tier's victims, where there is one."""
    return InputError(
        f"{attack} needs several releases of the same records, and of the victims in tier {tier} there is one: train "
        "with --record-rounds (two or more, in which they are in a tier), or with two --local-epochs"
    )


class View:
    """What one attack sees in one run of it.

    Args:
        background: all that there is.
        adversary: who attacks.
        knows: its auxiliary knowledge.
        attack: name of the attack, for refusals.
        seed: of this repetition of the attack.
        progress: told how far the attack is.
        keep: see `Keep`.
    """

    def __init__(
        self,
        background: Background,
        *,
        adversary: Adversary,
        knows: AuxiliaryKind,
        attack: str,
        seed: int,
        progress: Progress = show_nothing,
        keep: Keep = keep_nothing,
    ) -> None:
        self._background = background
        self._adversary = adversary
        self._knows: AuxiliaryKind = knows
        self._attack = attack
        self.seed = seed
        self.progress = progress
        self.keep = keep

    def _need(self, *capabilities: Capability) -> None:
        require(frozenset(capabilities), self._adversary, self._knows, self._attack)

    def has(self, capability: Capability) -> bool:
        """Whether the adversary has something that an attack can use but does not need."""
        return capability in self._adversary.knowing(self._knows)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(C, H, W) of an image."""
        return self._background.input_shape

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self._background.classes

    @property
    def tier(self) -> int:
        """Client modules m."""
        return self._background.tier

    @property
    def cut_shape(self) -> tuple[int, ...]:
        """Shape of one record's activations at the cut."""
        return self._background.cut_shape

    @property
    def device(self) -> str:
        """Where to compute."""
        return self._background.device

    @property
    def defense(self) -> DefenseChain:
        """The clients' defenses: which, and their settings, but none of their draws."""
        self._need("architecture")
        return self._background.defense

    @property
    def local_steps(self) -> LocalSteps:
        """How the clients trained in the victims' round."""
        self._need("architecture")
        assert self._background.local_steps is not None
        return self._background.local_steps

    def server_half(self) -> nn.Module:
        """Return a fresh copy of the server's own half of the network, as the round of the victims began with it."""
        self._need("architecture", "smashed")
        if self._background.server_half is None:
            raise InputError(
                f"{self._attack} needs the server's half of the victims' round, which is kept for the last round only: "
                "use --replay"
            )
        return self._background.server_half()

    @property
    def augmentations(self) -> Sequence[str]:
        """How clients alter their training images, by name: crop, flip, cutout; which alterations is their chance."""
        self._need("architecture")
        return self._background.augmentations

    @property
    def records(self) -> int:
        """Training examples of all clients together."""
        return self._background.records

    @property
    def victims(self) -> int:
        """Number of images to be reconstructed or judged: all those of `batches`."""
        return sum(len(batch.labels) for seen in self._background.seen for batch in seen.batches)

    @property
    def seen(self) -> Sequence[Seen]:
        """The clients' rounds that hold the victims, whose images follow in the order of their batches."""
        self._need("client-weights", "smashed", "labels")
        return self._background.seen

    @property
    def batches(self) -> Sequence[Sequence[SmashedBatch]]:
        """The messages that hold the victims, by client, in the victims' order; the weights are not needed for them."""
        self._need("smashed", "labels")
        return [seen.batches for seen in self._background.seen]

    @property
    def earlier(self) -> Sequence[Seen]:
        """What else these clients sent of the same records, each time in an order that the adversary does not know.

        Raises:
            InputError: there are none.
        """
        self._need("client-weights", "smashed", "labels")
        if not self._background.earlier:
            raise once_only(self._attack, self._background.tier)
        return self._background.earlier

    @property
    def updates(self) -> Sequence[tuple[Seen, WeightUpdate]]:
        """The rounds of `seen` whose client sent a weight update, with it."""
        self._need("client-weights", "updates")
        return [(seen, seen.update) for seen in self._background.seen if seen.update is not None]

    @property
    def auxiliary(self) -> Auxiliary:
        """The adversary's own data."""
        self._need("auxiliary-data")
        if self._background.auxiliary is None:
            raise InputError(f"{self._attack} needs auxiliary data, and there are none")
        return self._background.auxiliary

    def program(self, seen: Seen, *, adaptive: bool, draw: str = "") -> ClientProgram:
        """Return the client's program with the weights that it began this round with.

        Args:
            seen: the client's round.
            adaptive: with the client's defenses; without, as if it had none.
            draw: name of the adversary's draws of the defenses. Programs of other names have other lasting secrets.
        """
        self._need("client-weights")
        return self.program_with(seen.download, adaptive=adaptive, draw=draw)

    def program_with(self, download: ModelDownload, *, adaptive: bool, draw: str = "") -> ClientProgram:
        """Return the client's program with weights that the adversary brings itself; otherwise as `program`."""
        self._need("architecture")
        seen = Seen(download=download, batches=(), update=None)
        seed = int(stream(self.seed, "draw", draw).integers(2**62)) if draw else self.seed
        return self._background.program(seen, adaptive, seed)

    def untrained(self, client: int, *path: str | int) -> ModelDownload:
        """Return weights and head in the victims' tier as they might be before any training, drawn by ``path``."""
        self._need("architecture", "smashed")
        seen = next(seen for seen in self._background.seen if seen.download.client == client)
        seed = int(stream(self.seed, "untrained", *path).integers(2**62))
        return self._background.program(seen, False, seed).untrained(seed)

    def derived(self, name: str, seen: Sequence[Seen], receive: Receive | None = None) -> "View":
        """Return the same view with messages as the adversary has rewritten them, for attacks that build on others.

        Args:
            name: of the rewriting; what is kept goes under it.
            seen: the rewritten rounds, in the victims' order.
            receive: does the same to what the client's program releases; see `ClientProgram.received_by`.
        """
        programs, keep = self._background.program, self.keep

        def program(one: Seen, adaptive: bool, seed: int) -> ClientProgram:
            made = programs(one, adaptive, seed)
            return made if receive is None else made.received_by(receive)

        return View(
            replace(self._background, seen=seen, program=program),
            adversary=self._adversary,
            knows=self._knows,
            attack=self._attack,
            seed=self.seed,
            progress=self.progress,
            keep=lambda what, make: keep(f"{name}/{what}", make),
        )

    def download(self, tier: int) -> ModelDownload:
        """Return what the protocol sends a client in the victims' round, in this tier; a malicious server's start."""
        self._need("client-weights")
        assert self._background.honest is not None
        return self._background.honest(tier)

    @property
    def final_model(self) -> State:
        """The global model after the last round."""
        self._need("final-model")
        return self._background.final_model

    @property
    def initial_model(self) -> State:
        """The global model that the victims' round began with."""
        self._need("client-weights")
        return self._background.initial_model

    @property
    def candidates(self) -> Candidates:
        """Records to tell members from non-members among."""
        assert self._background.candidates is not None
        return self._background.candidates

    @property
    def shadows(self) -> Shadows:
        """Training runs of the adversary's own."""
        self._need("architecture", "auxiliary-data")
        assert self._background.shadows is not None
        return self._background.shadows

    @property
    def logits(self) -> Logits:
        """The whole network, to be run with weights that the adversary has."""
        self._need("architecture")
        assert self._background.logits is not None
        return self._background.logits

    def chance(self, *path: str | int) -> torch.Generator:
        """Return a random stream (CPU) of this repetition."""
        return torch_stream(self.seed, "attack", self._attack, self.tier, *path)
