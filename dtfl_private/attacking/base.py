"""Attacks: one hard method each, inside a frame that keeps the score.

An attack is a frozen value: settings only. It gets a `View` and returns its guess; common code judges the guess by the
ground truth, which the attack never sees. There is one base class per goal:

    Reconstruction       the images themselves
    TokenReconstruction  the sequences of tokens themselves, where inputs are no images
    MembershipInference  whether a record was trained on
    AttributeInference   a property of an image that is not its label
    LabelInference       the true labels, where a defense protects them or they are not sent

An attack of a malicious server also says what it sends or returns (`Attack.tamper`); the frame lets the clients play
their round, or several, with that, guards and all.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field
from torch import Tensor

from dtfl_private.attacking.evidence import Auxiliary
from dtfl_private.attacking.view import View
from dtfl_private.errors import InputError
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.adversaries import Capability
from dtfl_private.protocol.messages import State
from dtfl_private.training.methods.splitfed import HostileAnswer

Inputs = Literal["images", "tokens"]
"""What a run's inputs are."""

SEQUENCES = "sequences of tokens"

ONLY_IMAGES: frozenset[Inputs] = frozenset({"images"})
ONLY_TOKENS: frozenset[Inputs] = frozenset({"tokens"})
ANY_INPUTS: frozenset[Inputs] = frozenset({"images", "tokens"})


@dataclass(frozen=True, kw_only=True)
class AttackFacts:
    """What a user must know of an attack before choosing it; the columns of ``list attacks``.

    needs: capabilities without which it cannot run.
    recipe: how it works, in one line.
    source: the paper it is from; "new" if it is ours.
    per_tier: whether the outcome depends on the tier; an attack on the final model does not.
    looks_back: whether it uses other releases of the victims' records (`View.earlier`), which take time to play.
    whole: whether it also attacks a client that trains the whole network and sends its weight update alone.
    amortised: whether its work hardly grows with the victims, as what it learnt once serves any number of them.
    inputs: of which runs it can be mounted on.
    """

    needs: frozenset[Capability]
    recipe: str
    source: str = "new"
    per_tier: bool = True
    looks_back: bool = False
    whole: bool = False
    amortised: bool = False
    inputs: frozenset[Inputs] = ONLY_IMAGES


@dataclass(frozen=True, kw_only=True)
class Target:
    """What an attack may know before it runs, to refuse what it cannot do.

    classes: number of classes.
    whole: whether clients train the whole network there, and send their weight update alone.
    optimizer: of the clients.
    labelled: whether clients send the labels of their records, protected or not.
    """

    tier: int
    input_shape: tuple[int, ...]
    cut_shape: tuple[int, ...]
    classes: int
    defense: DefenseChain
    whole: bool = False
    optimizer: str = "sgd"
    labelled: bool = True

    @property
    def inputs(self) -> Inputs:
        """Whether inputs are images (C, H, W) or sequences of tokens (T,)."""
        return "images" if len(self.input_shape) == 3 else "tokens"


@dataclass(frozen=True, kw_only=True)
class Tampering:
    """What a malicious server sends instead of what the protocol says.

    Attributes:
        tier: that it names.
        weights: of the client half md1..md_tier, all of them; empty to send the honest ones.
        answer: what it returns for a batch in place of the loss's gradient; None for that gradient. The attack finds it
            in `View.answer` when the clients have played.
        rounds: that it plays so with all clients of the last round, from the state which that round began with; the
            last of these is attacked. More than one only with an ``answer``.
    """

    tier: int
    weights: State
    answer: HostileAnswer | None = None
    rounds: int = 1


@dataclass(frozen=True, kw_only=True)
class Attack(ABC):
    """Base of all attacks.

    Attributes:
        adaptive: attack through the defenses' own samplers, as an adversary who knows them would; false only for
            comparison, as it makes defenses look better than they are.
        effort: how much work, in steps, relative to the normal; what a setting names itself stays as it is.

    Class attributes:
        normal_steps: of its trainings and searches, by the setting that can name others; there 0 means these.
    """

    facts: ClassVar[AttackFacts]
    normal_steps: ClassVar[Mapping[str, int]] = {}

    adaptive: bool = True
    effort: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = 1.0

    def steps_of(self, given: int, normal: int) -> int:
        """Return the steps of a training or a search: those given, or if that is 0 the normal ones by the effort."""
        return given or max(1, round(normal * self.effort))

    @property
    def budget(self) -> dict[str, int]:
        """The steps of its trainings and searches, by setting: those named there, else the normal ones by the effort.

        A search makes so many for every victim, a training for all of them together.
        """
        by_effort = {name: self.steps_of(getattr(self, name), normal) for name, normal in self.normal_steps.items()}
        return {**self.own_steps, **by_effort}

    @property
    def own_steps(self) -> dict[str, int]:
        """The steps that settings such as ``steps`` or ``decoder_steps`` name, so that no effort changes them."""
        named = [field.name for field in fields(self) if field.name == "steps" or field.name.endswith("_steps")]
        values = {name: getattr(self, name) for name in named}
        return {name: value for name, value in values.items() if type(value) is int and value > 0}

    def doubled(self) -> Self:
        """Return the same attack with twice the effort, and with twice the steps where settings name them."""
        changes: dict[str, Any] = {name: 2 * steps for name, steps in self.own_steps.items()}
        return replace(self, effort=2 * self.effort, **changes)

    def check(self, target: Target) -> None:
        """Raise `InputError` if the attack cannot act here."""
        if target.inputs not in self.facts.inputs:
            attacked = " and ".join(SEQUENCES if one == "tokens" else one for one in sorted(self.facts.inputs))
            there = SEQUENCES if target.inputs == "tokens" else "images"
            raise InputError(f"{name_of(self)} attacks {attacked}; this run's inputs are {there}")
        if target.whole and not self.facts.whole:
            raise InputError(
                f"{name_of(self)} is not made for clients that train the whole network and send its weights alone, as "
                "those of this run: use --attack update-inversion"
            )

    @property
    def tampers(self) -> bool:
        """Whether it has a malicious server send something else; see `tamper`."""
        return type(self).tamper is not Attack.tamper

    def tamper(self, view: View) -> Tampering | None:
        """Return what a malicious server sends the victims, or None for what the protocol says.

        Called before there are any victims to be seen: ``view`` has the weights and the auxiliary data only.
        """
        return None


class Reconstruction(Attack):
    """An attack that reconstructs the victims' images."""

    @abstractmethod
    def reconstruct(self, view: View) -> Tensor:
        """Return images (victims, C, H, W) in [0, 1], in the order of the victims."""


class TokenReconstruction(Attack):
    """An attack that reads the victims' token sequences back."""

    @abstractmethod
    def tokens(self, view: View) -> Tensor:
        """Return sequences (victims, length), int64, in the order of the victims.

        Each number is a token, 0 to ``view.vocabulary.size`` - 1, or the padding. Which places are filled up shows
        behind the first stage, whose rows are zeros there, and is not scored.
        """


class MembershipInference(Attack):
    """An attack that tells records that were trained on from others."""

    @abstractmethod
    def scores(self, view: View) -> Tensor:
        """Return a score (candidates,) of each of ``view.candidates``: the higher, the likelier a member."""


class AttributeInference(Attack):
    """An attack that infers a property of the victims' images."""

    @abstractmethod
    def values(self, images: Tensor, labels: Tensor, auxiliary: Auxiliary) -> Tensor:
        """Return the property (N,), int64 from 0, of images (N, C, H, W) in [0, 1], or of sequences (N, T).

        Args:
            images: of which the property is asked.
            labels: their classes (N,).
            auxiliary: images to take thresholds from, such as the median of a class.
        """

    @abstractmethod
    def infer(self, view: View) -> Tensor:
        """Return the guessed property (victims,), int64."""


class LabelInference(Attack):
    """An attack that infers the victims' true labels behind the protected ones, or where none are sent."""

    @abstractmethod
    def infer(self, view: View) -> Tensor:
        """Return the guessed labels (victims,), int64."""


def name_of(attack: Attack) -> str:
    """Return an attack's name as users write it: ``TierDowngrade`` is tier-downgrade."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", type(attack).__name__).lower()
