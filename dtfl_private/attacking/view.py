"""What an attack gets to see, and nothing else: messages, the client's program, auxiliary data, chance.

Ground truth is not in it. What the adversary does not have raises an error when an attack asks for it.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from dtfl_private.attacking.callbacks import Advance, Keep, advance_within, below, keep_nothing, show_nothing
from dtfl_private.attacking.client_tail import ClientTail
from dtfl_private.attacking.evidence import (
    Auxiliary,
    Beginning,
    Candidates,
    Evidence,
    LocalSteps,
    Logits,
    Shadows,
    TrainingKnowledge,
)
from dtfl_private.attacking.program import ClientProgram, Receive
from dtfl_private.attacking.refusals import last_round_only, once_only
from dtfl_private.errors import InputError
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.adversaries import Adversary, AuxiliaryKind, Capability, require
from dtfl_private.protocol.messages import GradientReply, ModelDownload, Seen, SmashedBatch, State, WeightUpdate
from dtfl_private.protocol.vocabulary import Vocabulary
from dtfl_private.randomness import stream, torch_stream
from dtfl_private.training.methods.splitfed import HostileAnswer

Part = TypeVar("Part")


class View:
    """What one attack sees in one run of it.

    Args:
        evidence: all that there is.
        adversary: who attacks.
        knows: its auxiliary knowledge.
        attack: name of the attack, for refusals.
        seed: of this repetition of the attack.
        progress: told how far the attack is.
        keep: caches work; see `Keep`.
        answer: what a malicious server returned for batches, as `Attack.tamper` made it: it may have learnt from them.
    """

    def __init__(
        self,
        evidence: Evidence,
        *,
        adversary: Adversary,
        knows: AuxiliaryKind,
        attack: str,
        seed: int,
        progress: Advance = show_nothing,
        keep: Keep = keep_nothing,
        answer: HostileAnswer | None = None,
    ) -> None:
        self._adversary = adversary
        self._evidence = self._shown(evidence)
        self._knows: AuxiliaryKind = knows
        self._attack = attack
        self.seed = seed
        self.progress = progress
        self.keep = keep
        self.answer = answer

    def part(self, begin: float, end: float) -> "View":
        """Return the same view for one of several steps of an attack, whose progress is from ``begin`` to ``end``.

        Args:
            begin: share of the attack's time, as a rule, that is over before: 0 to 1.
            end: share that is over after.
        """
        view = copy.copy(self)
        view.progress = partial(advance_within, self.progress, begin, end)
        return view

    def showing(self, seen: Sequence[Seen]) -> "View":
        """Return the same view of other rounds: of some of the clients, or of messages that the adversary has made."""
        view = copy.copy(self)
        view._evidence = self._shown(replace(self._evidence, round=replace(self._evidence.round, seen=seen)))
        return view

    def _need(self, *capabilities: Capability) -> None:
        require(frozenset(capabilities), self._adversary, self._knows, self._attack)

    def _there(self, part: Part | None, what: str) -> Part:
        """Return a part of the evidence that need not be there."""
        if part is None:
            raise InputError(f"{self._attack} needs {what}, and there are none")
        return part

    @property
    def _training(self) -> TrainingKnowledge:
        return self._there(self._evidence.training, "models of the training")

    def has(self, capability: Capability) -> bool:
        """Whether the adversary has something that an attack can use but does not need."""
        return capability in self._adversary.knowing(self._knows)

    def told(self, labels: Tensor) -> Tensor:
        """Return labels of one's own records as the adversary gets those of others: zeros where it gets none."""
        return labels if self.has("labels") else torch.zeros_like(labels)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(C, H, W) of an image, or (T,) of a sequence of tokens."""
        return self._evidence.network.input_shape

    @property
    def vocabulary(self) -> Vocabulary:
        """Which numbers are tokens, which one fills sequences up, and the tokenizer's text.

        Raises:
            InputError: the inputs are images.
        """
        self._need("architecture")
        return self._there(self._evidence.network.vocabulary, "sequences of tokens")

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self._evidence.network.classes

    @property
    def tier(self) -> int:
        """Client modules m."""
        return self._evidence.network.tier

    @property
    def cut_shape(self) -> tuple[int, ...]:
        """Shape of one record's activations at the cut."""
        return self._evidence.network.cut_shape

    @property
    def device(self) -> str:
        """Where to compute."""
        return self._evidence.network.device

    @property
    def defense(self) -> DefenseChain:
        """The clients' defenses: which, and their settings, but none of their draws."""
        self._need("architecture")
        return self._evidence.network.defense

    @property
    def local_steps(self) -> LocalSteps:
        """How the clients trained in the victims' round."""
        self._need("architecture")
        return self._evidence.round.local_steps

    def server_half(self) -> nn.Module:
        """Return a fresh copy of the server's own half of the network, as the round of the victims began with it."""
        self._need("architecture", "smashed")
        if self._evidence.round.server_half is None:
            raise last_round_only(self._attack)
        return self._evidence.round.server_half()

    @property
    def augmentations(self) -> Sequence[str]:
        """How clients alter their training images, by name: crop, flip, cutout; which alterations is their chance."""
        self._need("architecture")
        return self._evidence.network.augmentations

    @property
    def records(self) -> int:
        """Training examples of all clients together."""
        return self._evidence.network.records

    @property
    def victims(self) -> int:
        """Number of images or sequences to be reconstructed or judged: all those of `batches`, or of whole updates."""
        return sum(seen.records for seen in self._evidence.round.seen)

    @property
    def seen(self) -> Sequence[Seen]:
        """The clients' rounds that hold the victims, whose images follow in the order of their batches.

        Labels are zeros where the adversary does not have them.
        """
        self._need("client-weights", "smashed")
        return self._evidence.round.seen

    @property
    def batches(self) -> Sequence[Sequence[SmashedBatch]]:
        """The messages that hold the victims, by client, in the victims' order; the weights are not needed for them."""
        self._need("smashed")
        return [seen.batches for seen in self._evidence.round.seen]

    def _shown(self, evidence: Evidence) -> Evidence:
        """Return evidence without the labels that come with smashed data, if the adversary does not have these."""
        if "labels" in self._adversary.has or "smashed" not in self._adversary.has:
            return evidence
        seen, earlier = (
            [replace(one, batches=tuple(batch.without_labels() for batch in one.batches)) for one in rounds]
            for rounds in (evidence.round.seen, evidence.round.earlier)
        )
        return replace(evidence, round=replace(evidence.round, seen=seen, earlier=earlier))

    @property
    def answered(self) -> Sequence[Seen]:
        """The clients' rounds that hold the victims, for what each client returned to the server's outputs."""
        self._need("client-weights", "tail-gradients")
        return self._evidence.round.seen

    def tail(self, seen: Seen, *, adaptive: bool) -> ClientTail:
        """Return the network's last modules as a client that keeps them began this round with them, to be trained on.

        Args:
            seen: the client's round.
            adaptive: with the client's loss of protected labels; without, as if it had no defense.
        """
        self._need("architecture", "client-weights", "tail-gradients")
        tail = self._there(self._evidence.round.tail, "the last modules that clients keep")()
        tail.load_state_dict({name: seen.download.weights[name] for name in tail.state_dict()})
        chain, steps = self.defense, self.local_steps
        return ClientTail(tail, chain if adaptive else chain.undefended, steps.settings, steps.lr)

    @property
    def replies(self) -> Sequence[Sequence[GradientReply]]:
        """The gradients that the server returned for the victims' batches, by client, in the victims' order."""
        self._need("replies")
        return [seen.replies for seen in self._evidence.round.seen]

    def replies_to(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the gradients (B, *cut shape) returned to a client, as the adversary is one, for images and labels."""
        self._need("replies", "auxiliary-data")
        if self._evidence.round.replies_to is None:
            raise last_round_only(self._attack)
        return self._evidence.round.replies_to(images, labels)

    @property
    def earlier(self) -> Sequence[Seen]:
        """What else these clients sent of the same records, each time in an order that the adversary does not know.

        Raises:
            InputError: there are none.
        """
        self._need("client-weights", "smashed")
        if not self._evidence.round.earlier:
            raise once_only(self._attack, self._evidence.network.tier)
        return self._evidence.round.earlier

    @property
    def updates(self) -> Sequence[tuple[Seen, WeightUpdate]]:
        """The rounds of `seen` whose client sent a weight update, with it; their download is what it trained from.

        Where the adversary has the sum of the updates only, one round with this sum, as if of one client.
        """
        self._need("client-weights", "updates" if self._evidence.round.summed == 1 else "aggregate")
        begun = self._evidence.round.begun
        return [
            (replace(seen, download=begun.get(seen.download.client, seen.download)), seen.update)
            for seen in self._evidence.round.seen
            if seen.update is not None
        ]

    @property
    def auxiliary(self) -> Auxiliary:
        """The adversary's own data."""
        self._need("auxiliary-data")
        return self._there(self._evidence.auxiliary, "auxiliary data")

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
        return self._evidence.network.program(seen, adaptive, seed)

    def untrained(self, client: int, *path: str | int) -> ModelDownload:
        """Return weights and head in the victims' tier as they might be before any training, drawn by ``path``."""
        self._need("architecture", "smashed")
        seen = next(seen for seen in self._evidence.round.seen if seen.download.client == client)
        seed = int(stream(self.seed, "untrained", *path).integers(2**62))
        return self._evidence.network.program(seen, False, seed).untrained(seed)

    def beginning(self, client: int) -> Beginning | None:
        """Return what a client's network was before the run, where it is part of the program; None where it is sent."""
        self._need("architecture", "smashed")
        return self._evidence.round.beginnings.get(client)

    def with_own_weights(self, name: str, seen: Sequence[Seen]) -> "View":
        """Return the same view with client halves of the adversary's own in place of the clients', which it knows.

        Args:
            name: of them; what is cached goes under it.
            seen: the clients' messages, in the victims' order, each with a download that the adversary made itself.
        """
        view = self.derived(name, seen)
        view._adversary = replace(self._adversary, has=self._adversary.has | {"client-weights"})
        view._evidence = replace(view._evidence, training=None)  # its models are not the adversary's own
        return view

    def derived(self, name: str, seen: Sequence[Seen], receive: Receive | None = None) -> "View":
        """Return the same view with messages as the adversary has rewritten them, for attacks that build on others.

        Args:
            name: of the rewriting; what is cached goes under it.
            seen: the rewritten rounds, in the victims' order.
            receive: does the same to what the client's program releases; see `ClientProgram.received_by`.
        """
        evidence = self._evidence

        def program(one: Seen, adaptive: bool, seed: int) -> ClientProgram:
            made = evidence.network.program(one, adaptive, seed)
            return made if receive is None else made.received_by(receive)

        return View(
            replace(
                evidence,
                round=replace(evidence.round, seen=seen),
                network=replace(evidence.network, program=program),
            ),
            adversary=self._adversary,
            knows=self._knows,
            attack=self._attack,
            seed=self.seed,
            progress=self.progress,
            keep=below(name, self.keep),
        )

    def download(self, tier: int) -> ModelDownload:
        """Return what the protocol sends a client in the victims' round, in this tier; a malicious server's start."""
        self._need("client-weights")
        return self._training.honest(tier)

    @property
    def final_model(self) -> State:
        """The global model after the last round."""
        self._need("final-model")
        return self._training.final_model

    @property
    def initial_model(self) -> State:
        """The global model that the victims' round began with."""
        self._need("client-weights")
        return self._training.initial_model

    @property
    def candidates(self) -> Candidates:
        """Records to tell members from non-members among."""
        return self._there(self._evidence.candidates, "candidates")

    @property
    def shadows(self) -> Shadows:
        """Training runs of the adversary's own."""
        self._need("architecture", "auxiliary-data")
        return self._training.shadows

    @property
    def logits(self) -> Logits:
        """The whole network, to be run with weights that the adversary has."""
        self._need("architecture")
        return self._training.logits

    def chance(self, *path: str | int) -> torch.Generator:
        """Return a random stream (CPU) of this repetition."""
        return torch_stream(self.seed, "attack", self._attack, self.tier, *path)
