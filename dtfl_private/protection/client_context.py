"""What a defense has at hand: the client and the round it acts in, the batch under way, local training."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn

from dtfl_private.numerics import Numerics
from dtfl_private.protocol.messages import ModelDownload, State, below
from dtfl_private.randomness import Randomness, SeededRandomness


@dataclass(frozen=True, kw_only=True)
class ForwardPass:
    """What the activations of a batch are computed from.

    encoder: from inputs (B, *input shape) to activations at the cut, with the present weights.
    inputs: of the batch, after ``protect_inputs``.
    """

    encoder: Callable[[Tensor], Tensor]
    inputs: Tensor


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """What a round holds once, however often it is narrowed to a batch or to a member of a chain."""

    chances: dict[tuple[str | int, ...], torch.Generator] = field(default_factory=dict)
    memories: dict[tuple[int, ...], dict[str, Tensor]] = field(default_factory=dict)
    scratches: dict[tuple[int, ...], dict[str, Tensor]] = field(default_factory=dict)


KNOWN = "known"
"""Names in a memory that begin with ``known/`` are of what an adversary is taken to know."""


def known_memory(memory: State) -> dict[str, Tensor]:
    """Return the part of a client's memory that an adversary is taken to know, of all members of a chain."""
    return {name: tensor for name, tensor in memory.items() if KNOWN in name.split("/")}


@dataclass(frozen=True, kw_only=True)
class ClientRound:
    """The client and the round that a defense acts in, with its chance and its memory.

    Attributes:
        seed: of the run; an attacker who runs the sampler itself has a seed of its own.
        client: id.
        round: number, from 1.
        tier: client modules m.
        profile: name of the client's resource profile in this round; "" where nobody says.
        records: N_k, the client's training examples.
        classes: number of classes.
        device: of the tensors that the hooks get.
        memory: tensors that this defense keeps on this client (CPU); what a hook puts in is there again in the client's
            next round, in every tier. Lost if the client drops out in mid-round. It is the client's secret, but for
            names that begin with ``known/``, which attacks are given: distributions of noise, say, never draws.
        download: the weights that the round began with, as the client received them.
        forward: of the batch under way, in ``encode``, ``local_loss`` and ``protect_batch``; None elsewhere.
        real: (B, T) which places of the batch under way are not padding, in ``protect_batch``; None if there is none.
        batch_records: (B,) record numbers within 0..records-1 of the batch under way, in ``protect_inputs``; None
            elsewhere.
        place: position of the defense in the chain; set by the chain.
        occasion: what the client does: its round, or measuring batch norm's statistics of the weights that came of it.
            Each has chance of its own, so that no noise is drawn twice.
        randomness: where chance comes from; None: from ``seed``, as in a simulation.
    """

    seed: int
    client: int
    round: int
    tier: int
    records: int
    classes: int
    device: str = "cpu"
    profile: str = ""
    memory: dict[str, Tensor] = field(default_factory=dict)
    download: ModelDownload | None = None
    forward: ForwardPass | None = None
    real: Tensor | None = None
    batch_records: Tensor | None = None
    place: tuple[int, ...] = ()
    occasion: Literal["round", "statistics"] = "round"
    randomness: Randomness | None = None
    _kept: _Kept = field(default_factory=_Kept, repr=False, compare=False)

    @property
    def chance(self) -> torch.Generator:
        """This defense's random stream of this client and round; every draw moves it on.

        Draw from it by `dtfl_private.protection.draws`: at a deployed client it is then fit for secrets.
        """
        path: tuple[str | int, ...] = ("defense", *self.place, self.occasion, self.client, self.round)
        started = self._kept.chances
        if (self.seed, *path) not in started:
            started[self.seed, *path] = self._randomness.generator(*path, device=self.device)
        return started[self.seed, *path]

    @property
    def scratch(self) -> dict[str, Tensor]:
        """Tensors that this defense keeps within the round, on their device; nothing is left of them afterwards."""
        return self._kept.scratches.setdefault(self.place, {})

    def lasting(self, *path: str | int) -> torch.Generator:
        """Return a stream (CPU) that starts anew at every call and is the same in all of this client's rounds.

        For secret keys and for draws that must not be repeated.
        """
        return self._randomness.lasting("defense", *self.place, "lasting", self.client, *path)

    @property
    def _randomness(self) -> Randomness:
        return self.randomness or SeededRandomness(self.seed)

    def member(self, position: int) -> "ClientRound":
        """Return the same round as the defense at ``position`` of a chain sees it: own chance, own memory."""
        place, memories = (*self.place, position), self._kept.memories
        if place not in memories:
            memories[place] = dict(below(f"{position}/", self.memory))
        return replace(self, memory=memories[place], place=place)

    def during(self, encoder: Callable[[Tensor], Tensor], inputs: Tensor) -> "ClientRound":
        """Return the same round, with its chance and memory, while a batch passes the encoder."""
        return replace(self, forward=ForwardPass(encoder=encoder, inputs=inputs))

    def fetching(self, records: Tensor) -> "ClientRound":
        """Return the same round, with its chance and memory, while the inputs of these records are made ready."""
        return replace(self, batch_records=records)

    def remembered(self) -> State:
        """Return what this defense and the members of its chain keep, on the CPU, by name.

        What a member keeps that had nothing to do in this round stays as it was.
        """
        members = sorted(place[-1] for place in self._kept.memories if place[:-1] == self.place)
        others = {
            name: kept for name, kept in self.memory.items() if not name.startswith(tuple(f"{m}/" for m in members))
        }
        # Laid out as a checkpoint gives it back: in another order sums are rounded otherwise.
        kept = {name: tensor.detach().cpu().contiguous() for name, tensor in others.items()}
        for position in members:
            kept |= {f"{position}/{name}": tensor for name, tensor in self.member(position).remembered().items()}
        return kept


@dataclass(frozen=True, kw_only=True)
class LocalStep:
    """One batch of local training, for a loss term. All tensors are on the tape but ``inputs`` and ``labels``.

    inputs: (B, *input shape), after ``protect_inputs``.
    smashed: (B, *cut shape), the activations at the cut after ``encode``.
    logits: (B, classes) of the auxiliary head.
    labels: (B,), after ``protect_labels``.
    real: (B, T) which places of sequences are not padding, where the activations are 0; None where there is none.
    """

    inputs: Tensor
    smashed: Tensor
    logits: Tensor
    labels: Tensor
    real: Tensor | None = None


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
class Remark:
    """What a client-side guard found in what the server sent. ``refuses``: the client does not take part."""

    text: str
    refuses: bool = False
