"""What a defense has at hand: the client and the round it acts in, the batch under way, local training."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn

from dtfl_private.numerics import Numerics
from dtfl_private.protocol.messages import ModelDownload, State
from dtfl_private.randomness import torch_stream


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
class Remark:
    """What a client-side guard found in what the server sent. ``refuses``: the client does not take part."""

    text: str
    refuses: bool = False
