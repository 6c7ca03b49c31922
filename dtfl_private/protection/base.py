"""Defenses: what a client may do to protect what leaves it, in one class whose hooks all default to doing nothing.

A defense is a frozen value: settings only, no state. What it must remember of a client from round to round it keeps in
``at.memory``; chance comes from ``at.chance``. That is why a run resumes exactly and workers change nothing.

The life of a client's round, with the hooks in the order in which they are called:

    inspect        the weights arrive: accept them, or refuse to take part
    training_pass  a defense may train the client half in secret, instead of the passes below
    protect_labels, protect_inputs    of each batch, before anything is computed from it
    encode         the activations at the cut, inside the forward pass (gradients flow through it)
    local_loss     the loss that trains the client half and the auxiliary head
    protect_batch  the message with smashed data and labels, on its way out
    protect_update the message with the trained weights, on its way out
    guarantees     what all that released, as values
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import ClassVar, Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtfl_private.numerics import Numerics
from dtfl_private.protocol.guarantees import Guarantee
from dtfl_private.protocol.messages import ModelDownload, SmashedBatch, State, WeightUpdate
from dtfl_private.randomness import torch_stream

Place = Literal["input", "labels", "activations", "loss", "training", "smashed", "weights", "download"]
"""Where a defense acts: one word per hook."""


@dataclass(frozen=True, kw_only=True)
class DefenseFacts:
    """What a user must know of a defense before choosing it; the columns of ``list defenses``.

    protects: what it is meant to protect, in words.
    acts_on: where it acts.
    guarantee: what it guarantees, in one line; "none" if nothing.
    cost: what it costs, in one line.
    attacker: what an adaptive attacker does not know of it; all else, its sampler above all, is known.
    couples_records: places where one record's outcome depends on the other records of its batch. A guarantee per
        record cannot be given there.
    releases_apart: the client trains first, sending nothing, and then sends each record once, its weights frozen.
    group_norm: it needs a network whose records do not meet in batch norm.
    packs: it sends the smashed data in fewer bytes than their type has, so that nothing may change them afterwards.
    nonexpansive: for given draws, it moves the activations of no two records (or batches) further apart: a projection,
        a permutation, an addition that does not depend on the record. Noise that comes after it then hides as much.
    excludes: names of defenses that it cannot be combined with, each with the reason.
    """

    protects: str
    acts_on: tuple[Place, ...]
    guarantee: str = "none"
    cost: str = "negligible"
    attacker: str = "nothing but the draws"
    couples_records: frozenset[Place] = frozenset()
    releases_apart: bool = False
    group_norm: bool = False
    packs: bool = False
    nonexpansive: bool = False
    excludes: Mapping[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class ForwardPass:
    """What the client has at hand while it works on a batch; the trainer fills it in, defenses only read it.

    download: the weights that the round began with.
    encoder: from inputs (B, *input shape) to activations at the cut, with the present weights.
    inputs: of the batch that is under way.
    """

    download: ModelDownload | None = None
    encoder: Callable[[Tensor], Tensor] | None = None
    inputs: Tensor | None = None


@dataclass(kw_only=True)
class ClientRound:
    """The client and the round that a defense acts in, with its chance and its memory.

    Attributes:
        seed: of the run; an attacker who runs the sampler itself has a seed of its own.
        client: id.
        round: number, from 1.
        tier: client modules m.
        records: N_k, the client's training examples.
        classes: number of classes.
        device: of the tensors that the hooks get.
        memory: tensors that this defense keeps on this client (CPU); what a hook puts in is there again in the client's
            next round, in every tier. Lost if the client vanishes in mid-round.
        forward: the batch under way, shared by all members of a chain.
        place: position of the defense in the chain; set by the chain.
        occasion: what the client does: its round, or measuring batch norm's statistics of the weights that came of it.
            Each has chance of its own, so that no noise is drawn twice.
    """

    seed: int
    client: int
    round: int
    tier: int
    records: int
    classes: int
    device: str = "cpu"
    memory: dict[str, Tensor] = field(default_factory=dict)
    forward: ForwardPass = field(default_factory=ForwardPass)
    place: tuple[int, ...] = ()
    occasion: Literal["round", "statistics"] = "round"
    _chance: torch.Generator | None = field(default=None, init=False, repr=False)
    _members: dict[int, "ClientRound"] = field(default_factory=dict, init=False, repr=False)

    @property
    def chance(self) -> torch.Generator:
        """This defense's random stream of this client and round; every draw moves it on."""
        if self._chance is None:
            path: tuple[str | int, ...] = ("defense", *self.place, self.occasion, self.client, self.round)
            self._chance = torch_stream(self.seed, *path, device=self.device)
        return self._chance

    def lasting(self, *path: str | int) -> torch.Generator:
        """Return a stream (CPU) that starts anew at every call and is the same in all of this client's rounds.

        For secret keys and for draws that must not be repeated.
        """
        return torch_stream(self.seed, "defense", *self.place, "lasting", self.client, *path)

    def member(self, position: int) -> "ClientRound":
        """Return the same round as the defense at ``position`` of a chain sees it: own chance, own memory."""
        if position not in self._members:
            prefix = f"{position}/"
            memory = {n.removeprefix(prefix): t for n, t in self.memory.items() if n.startswith(prefix)}
            self._members[position] = replace(self, memory=memory, place=(*self.place, position))
        return self._members[position]

    def remembered(self) -> State:
        """Return what this defense and the members of its chain keep, on the CPU, by name."""
        kept = {} if self._members else {name: tensor.detach().cpu() for name, tensor in self.memory.items()}
        for position, member in sorted(self._members.items()):
            kept |= {f"{position}/{name}": tensor for name, tensor in member.remembered().items()}
        return kept


@dataclass(frozen=True, kw_only=True)
class LocalStep:
    """One batch of local training, for a loss term. All tensors are on the tape but ``inputs`` and ``labels``.

    inputs: (B, *input shape), after ``protect_inputs``.
    smashed: (B, *cut shape), the activations at the cut after ``encode``.
    logits: (B, classes) of the auxiliary head.
    labels: (B,), after ``protect_labels``.
    """

    inputs: Tensor
    smashed: Tensor
    logits: Tensor
    labels: Tensor


@dataclass(frozen=True, kw_only=True)
class LocalTraining:
    """The training of a client half in one round, for a defense that does it itself (`Defense.training_pass`).

    Attributes:
        modules: client half and auxiliary head, in training mode, for hooks and parameters.
        mean_loss: from (inputs, labels) to the mean loss of the batch, with the terms of all defenses.
        fetch: from record numbers (B,) within 0..records-1 to (inputs, labels), ready for ``mean_loss``.
        optimizer: of ``modules``; lives for this round.
        records: N_k.
        batch_size: images per batch.
        steps: steps that plain training would take.
        numerics: device and precision.
    """

    modules: nn.Module
    mean_loss: Callable[[Tensor, Tensor], Tensor]
    fetch: Callable[[Tensor], tuple[Tensor, Tensor]]
    optimizer: torch.optim.Optimizer
    records: int
    batch_size: int
    steps: int
    numerics: Numerics


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Where a defense would act, for its cost: shapes of one record, and the work of the client half.

    smashed_bytes: bytes of one record's activations without any defense.
    forward_macs: multiply-accumulates of the client half's forward pass on one record.
    """

    tier: int
    input_shape: tuple[int, ...]
    cut_shape: tuple[int, ...]
    smashed_bytes: int
    forward_macs: int
    batch_size: int

    @property
    def input_values(self) -> int:
        """Number of values of one input."""
        return math.prod(self.input_shape)

    @property
    def cut_values(self) -> int:
        """Number of values of one record's activations."""
        return math.prod(self.cut_shape)


@dataclass(frozen=True, kw_only=True)
class KnownNoise:
    """What can be counted on of the Gaussian noise in smashed data.

    Attributes:
        std: standard deviation, the same of every value, in units of the activations; None if nothing can be counted
            on.
        contracted: whether something acts on the activations before the noise; it moves no two records further apart.
        reason: why ``std`` is None.
    """

    std: float | None = None
    contracted: bool = False
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What a defense may know of the whole run before it starts, to calibrate itself.

    records_K: N_k of every client.
    """

    rounds: int
    batch_size: int
    local_epochs: int
    classes: int
    records_K: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Released:
    """What left a client in one round: its batches (each record once per epoch, or once) and its weight update.

    steps: steps of local training that the update depends on.
    epochs: how often each record was sent.
    """

    records: int
    batch_size: int
    steps: int
    epochs: int
    batches: bool = True
    update: bool = True


@dataclass(frozen=True, kw_only=True)
class Remark:
    """What a client-side guard found in what the server sent. ``refuses``: the client does not take part."""

    text: str
    refuses: bool = False


class Defense:
    """Base of all defenses: every hook does nothing. Override what you need; keep instances immutable.

    A hook never changes a tensor that it is given. ``at`` says which client and round it is, and brings chance and
    memory. Tensors are batched, (B, C, H, W) or (B, tokens, width) at the cut; a hook must take both, or refuse in
    ``check``.
    """

    facts: ClassVar[DefenseFacts] = DefenseFacts(protects="", acts_on=())

    @property
    def tier_floor(self) -> int:
        """Fewest client modules that a client with this defense accepts."""
        return 1

    def calibrated(self, run: RunFacts) -> "Defense":
        """Return the defense with what depends on the run worked out, as noise for a target epsilon.

        Raises:
            InputError: the target cannot be met in this run.
        """
        return self

    def check(self, cut: Cut) -> None:
        """Raise `InputError` if the defense cannot act at this cut."""

    def inspect(self, download: ModelDownload, at: ClientRound) -> Sequence[Remark]:
        """Return what is to be said of the weights that the server sent, before they are used."""
        return ()

    def training_pass(self, training: LocalTraining, at: ClientRound) -> list[Tensor] | None:
        """Train the client half and return the losses of the steps (each a scalar), or None to leave it to the trainer.

        Only for defenses whose facts say ``releases_apart``.
        """
        return None

    def protect_labels(self, labels: Tensor, records: Tensor, at: ClientRound) -> Tensor:
        """Return the labels (B,) that training and messages may use; ``records`` (B,) are 0..N_k-1."""
        return labels

    def protect_inputs(self, inputs: Tensor, at: ClientRound) -> Tensor:
        """Return the inputs (B, *input shape) that everything is computed from."""
        return inputs

    def encode(self, smashed: Tensor, at: ClientRound) -> Tensor:
        """Return the activations (B, *cut shape) that the auxiliary head sees and that are sent; differentiable."""
        return smashed

    def classification_loss(self, logits: Tensor, labels: Tensor) -> Tensor | None:
        """Return the mean loss of a classifier on protected labels, or None for plain cross-entropy.

        Used by the client for the auxiliary head and by the server for its half: public, without chance.
        """
        return None

    def local_loss(self, loss: Tensor, step: LocalStep, at: ClientRound) -> Tensor:
        """Return the client's loss, a mean over the records of the batch; ``loss`` is the one so far."""
        return loss

    def protect_batch(self, message: SmashedBatch, at: ClientRound) -> SmashedBatch:
        """Return the smashed data and labels as they may leave the client."""
        return message

    def protect_update(self, message: WeightUpdate, at: ClientRound) -> WeightUpdate:
        """Return the weight update as it may leave the client."""
        return message

    def guarantees(self, released: Released) -> Sequence[Guarantee]:
        """Return what holds of what a client released in one round."""
        return ()

    def extra_macs(self, cut: Cut) -> int:
        """Return the multiply-accumulates that the defense adds to the client's training on one record."""
        return 0

    def wire_bytes(self, cut: Cut) -> int:
        """Return the bytes of one record's activations as they are sent."""
        return cut.smashed_bytes

    def known_noise(self, cut: Cut) -> KnownNoise:
        """Return the Gaussian noise that it adds, for measures that need a noisy channel.

        A standard deviation may be stated only if the noise is independent of everything else, and if what happens to
        the activations before moves no two records further apart. What happens afterwards may depend on the noisy
        values alone.
        """
        return KnownNoise(reason=f"{name_of(self)} adds no Gaussian noise of a known deviation")


def name_of(defense: Defense) -> str:
    """Return a defense's name as users write it: ``DistanceCorrelation`` is distance-correlation."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", type(defense).__name__).lower()


@final
class DefenseChain(Defense):
    """Defenses applied one after the other: a chain is a defense. The empty chain changes nothing."""

    def __init__(self, defenses: Iterable[Defense] = ()) -> None:
        # Flat, for what is asked of the members' facts must not be hidden in an inner chain.
        self.defenses: tuple[Defense, ...] = tuple(
            member for defense in defenses for member in (defense if isinstance(defense, DefenseChain) else (defense,))
        )

    def __iter__(self) -> Iterator[Defense]:
        return iter(self.defenses)

    def _members(self, at: ClientRound) -> Iterator[tuple[Defense, ClientRound]]:
        for position, defense in enumerate(self.defenses):
            yield defense, at.member(position)

    @property
    def releases_apart(self) -> bool:
        """Whether the client trains first and sends afterwards."""
        return any(defense.facts.releases_apart for defense in self.defenses)

    @property
    def tier_floor(self) -> int:
        """The highest floor of the members."""
        return max((defense.tier_floor for defense in self.defenses), default=1)

    def calibrated(self, run: RunFacts) -> "DefenseChain":
        """Calibrate each member."""
        return DefenseChain([defense.calibrated(run) for defense in self.defenses])

    def check(self, cut: Cut) -> None:
        """Let each member refuse the cut."""
        for defense in self.defenses:
            defense.check(cut)

    def inspect(self, download: ModelDownload, at: ClientRound) -> Sequence[Remark]:
        """Return the remarks of all members."""
        return [remark for defense, own in self._members(at) for remark in defense.inspect(download, own)]

    def training_pass(self, training: LocalTraining, at: ClientRound) -> list[Tensor] | None:
        """Let the first member that trains itself do so."""
        for defense, own in self._members(at):
            losses = defense.training_pass(training, own)
            if losses is not None:
                return losses
        return None

    def protect_labels(self, labels: Tensor, records: Tensor, at: ClientRound) -> Tensor:
        """Apply each member in order."""
        return reduce(
            lambda value, member: member[0].protect_labels(value, records, member[1]), self._members(at), labels
        )

    def protect_inputs(self, inputs: Tensor, at: ClientRound) -> Tensor:
        """Apply each member in order."""
        return reduce(lambda value, member: member[0].protect_inputs(value, member[1]), self._members(at), inputs)

    def encode(self, smashed: Tensor, at: ClientRound) -> Tensor:
        """Apply each member in order."""
        return reduce(lambda value, member: member[0].encode(value, member[1]), self._members(at), smashed)

    def classification_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of the first member that has one, or plain cross-entropy."""
        for defense in self.defenses:
            loss = defense.classification_loss(logits, labels)
            if loss is not None:
                return loss
        return F.cross_entropy(logits, labels)

    def local_loss(self, loss: Tensor, step: LocalStep, at: ClientRound) -> Tensor:
        """Apply each member in order."""
        return reduce(lambda value, member: member[0].local_loss(value, step, member[1]), self._members(at), loss)

    def protect_batch(self, message: SmashedBatch, at: ClientRound) -> SmashedBatch:
        """Apply each member in order."""
        return reduce(lambda value, member: member[0].protect_batch(value, member[1]), self._members(at), message)

    def protect_update(self, message: WeightUpdate, at: ClientRound) -> WeightUpdate:
        """Apply each member in order."""
        return reduce(lambda value, member: member[0].protect_update(value, member[1]), self._members(at), message)

    def guarantees(self, released: Released) -> Sequence[Guarantee]:
        """Return the guarantees of all members."""
        return [guarantee for defense in self.defenses for guarantee in defense.guarantees(released)]

    def extra_macs(self, cut: Cut) -> int:
        """Return the sum over the members."""
        return sum(defense.extra_macs(cut) for defense in self.defenses)

    def wire_bytes(self, cut: Cut) -> int:
        """Return the bytes after the last member that changes them."""
        return reduce(
            lambda size, defense: defense.wire_bytes(replace(cut, smashed_bytes=size)), self.defenses, cut.smashed_bytes
        )

    def known_noise(self, cut: Cut) -> KnownNoise:
        """Return the strongest single noise that everything sent goes through.

        Whoever knew the other noises would learn more; so one noise, given the others, is a bound. What comes after it
        adds nothing. What comes before it must be known not to expand; inside the forward pass, where a defense may
        look at the inputs, so must what comes after it. Of a defense that changes the inputs that is never known.
        """
        found: KnownNoise | None = None
        contracted = False
        for place, defense in self._on_the_way():
            own, harmless = defense.known_noise(cut), defense.facts.nonexpansive
            if place == "input" or (own.std is None and not harmless):
                if found is not None and place == "smashed":
                    break
                return KnownNoise(reason=_why_unknown(defense))
            contracted |= own.contracted or own.std is None
            if own.std is not None and (found is None or found.std is None or own.std > found.std):
                found = replace(own, contracted=contracted)
        return found or KnownNoise(reason="no defense adds Gaussian noise to the smashed data")

    def _on_the_way(self) -> Iterator[tuple[Place, Defense]]:
        """Yield what acts on inputs, activations and messages, in the order in which records pass it."""
        places: tuple[Place, ...] = ("input", "activations", "smashed")
        yield from ((place, defense) for place in places for defense in self.defenses if place in defense.facts.acts_on)


def _why_unknown(defense: Defense) -> str:
    name, guarantee = name_of(defense), defense.facts.guarantee
    own = "" if guarantee == "none" else f"; its own guarantee: {guarantee}"
    return f"{name} changes the smashed data in a way that noise of one known deviation does not cover{own}"


def full_round(
    defense: DefenseChain,
    *,
    records: int,
    batch_size: int,
    local_epochs: int,
    batches: bool = True,
    update: bool = True,
) -> Released:
    """Return what a client of ``records`` records releases in a round."""
    return Released(
        records=records,
        batch_size=batch_size,
        steps=-(-records // batch_size) * local_epochs,
        epochs=1 if defense.releases_apart else local_epochs,
        batches=batches,
        update=update,
    )
