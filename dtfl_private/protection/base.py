"""Defenses: what a client may do to protect what leaves it, in one class whose hooks all default to doing nothing.

A defense is a frozen value: settings only, no state. What it must remember of a client from round to round it keeps in
``at.memory``; chance comes from ``at.chance``. That is why a run resumes exactly and workers change nothing.

The life of a client's round, with the hooks in the order in which they are called:

    inspect        the weights arrive: accept them, or refuse to take part
    training_pass  a defense may train the client half in secret, instead of the passes below
    protect_labels, protect_inputs    of each batch, before anything is computed from it
    encode         the activations at the cut, inside the forward pass (gradients flow through it)
    inspect_reply  the gradient that the server returns for a batch, where it returns one: use it, or refuse to go on
    local_loss     the loss that trains the client half and the auxiliary head
    protect_batch  the message with smashed data and labels, on its way out
    protect_update the message with the trained weights, on its way out
    guarantees     what all that released, as values
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Tensor

from dtfl_private.protection.client_context import ClientRound, LocalStep, LocalTraining, Remark
from dtfl_private.protection.cost import Cut, KnownNoise, RoundRelease, RunFacts
from dtfl_private.protection.release_reading import Reading
from dtfl_private.protocol.guarantees import Guarantee
from dtfl_private.protocol.messages import GradientReply, ModelDownload, SmashedBatch, WeightUpdate

Place = Literal["input", "labels", "activations", "loss", "training", "smashed", "weights", "download", "replies"]
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
    refuses_padding: why it cannot act on sequences that are filled up, whose padding must neither count nor change;
        "" where it can, as what it does to padding is undone for it.
    refuses_next_tokens: why it cannot act in next-token training, where each place of a text has a label; "" where it
        can. Those that act on labels, train the client half or judge replies never can.
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
    refuses_padding: str = ""
    refuses_next_tokens: str = ""

    @property
    def keeps_inputs_apart(self) -> bool:
        """Whether no input may depend on another record, as by statistics of all images that they are scaled by."""
        return self.group_norm or ("input" in self.acts_on and self.guarantee != "none")


class Defense:
    """Base of all defenses: every hook does nothing. Override what you need; keep instances immutable.

    A hook never changes a tensor that it is given. ``at`` says which client and round it is, and brings chance and
    memory. Tensors are batched, (B, C, H, W) or (B, tokens, width) at the cut; a hook must take both, or refuse in
    ``check``.
    """

    facts: ClassVar[DefenseFacts] = DefenseFacts(protects="", acts_on=())

    @property
    def own_name(self) -> str:
        """Its name as users write it: that of the class, in small letters; see `name_of`."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", type(self).__name__).lower()

    @property
    def tier_floor(self) -> int:
        """Fewest client modules that a client with this defense accepts."""
        return 1

    @property
    def per_token(self) -> bool:
        """Whether its guarantee is of single tokens where each place of a text is computed from its own token alone."""
        return False

    def calibrated(self, run: RunFacts) -> "Defense":
        """Return the defense with what depends on the run worked out, as noise for a target epsilon.

        Raises:
            InputError: the target cannot be met in this run.
        """
        return self

    def require_records(self, run: RunFacts) -> None:
        """Raise `InputError` if a client has more records than the guarantee is one for; it takes no time to say so."""

    def check(self, cut: Cut) -> None:
        """Raise `InputError` if the defense cannot act at this cut."""

    def inspect(self, download: ModelDownload, at: ClientRound) -> Sequence[Remark]:
        """Return what is to be said of the weights that the server sent, before they are used."""
        return ()

    def inspect_reply(self, reply: GradientReply, labels: Tensor, at: ClientRound) -> Sequence[Remark]:
        """Return what is to be said of the gradient that the server returned for a batch, before it is used.

        Args:
            reply: with the gradient (B, *cut shape).
            labels: (B,) that were sent with the batch.
            at: the client and round.
        """
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

    def guarantees(self, released: RoundRelease) -> Sequence[Guarantee]:
        """Return what holds of what a client released in one round."""
        return ()

    def extra_macs(self, cut: Cut) -> int:
        """Return the multiply-accumulates that the defense adds to the client's training on one record."""
        return 0

    def wire_bytes(self, cut: Cut) -> int:
        """Return the bytes of one record's activations as they are sent."""
        return cut.smashed_bytes

    def read(self, reading: Reading) -> Reading:
        """Return what is known of the activations before this defense, from what is known of those after it.

        For an attacker who knows the sampler and its settings, not its draws; see `Reading`. A defense that draws
        something in `encode` or `protect_batch` says here what of it shows.
        """
        return reading

    def expect(self, smashed: Tensor, at: ClientRound) -> Tensor:
        """Return the activations after `encode` as far as `read` does not speak of it; differentiable.

        A defense that draws in `encode` and says in `read` what it drew returns the activations as they are.
        """
        return self.encode(smashed, at)

    def known_noise(self, cut: Cut) -> KnownNoise:
        """Return the Gaussian noise that it adds, for measures that need a noisy channel.

        A standard deviation may be stated only if the noise is independent of everything else, and if what happens to
        the activations before moves no two records further apart. What happens afterwards may depend on the noisy
        values alone.
        """
        return KnownNoise(reason=f"{name_of(self)} adds no Gaussian noise of a known deviation")


def name_of(defense: Defense) -> str:
    """Return a defense's name as users write it: ``DistanceCorrelation`` is distance-correlation."""
    return defense.own_name
