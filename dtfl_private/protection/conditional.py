"""A defense with a rule: it acts at clients of some tiers, or of one resource profile, and at no others."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NoReturn, final

from torch import Tensor

from dtfl_private.errors import InputError
from dtfl_private.protection.base import Defense, DefenseFacts, name_of
from dtfl_private.protection.client_context import ClientRound, LocalStep, LocalTraining, Remark
from dtfl_private.protection.cost import Cut, KnownNoise, RoundRelease, RunFacts
from dtfl_private.protection.defense_rule import EVERYWHERE, Case, DefenseRule
from dtfl_private.protection.release_reading import Reading
from dtfl_private.protocol.guarantees import Guarantee
from dtfl_private.protocol.messages import GradientReply, ModelDownload, SmashedBatch, WeightUpdate

NOTHING = Defense()


@final
@dataclass(frozen=True, kw_only=True)
class Conditional(Defense):
    """A defense that acts where a rule holds, and does nothing elsewhere: what a client sends there is as without it.

    What does not depend on a client, as a guarantee or what a release shows, it has no answer for: ask the chain at a
    client (`dtfl_private.protection.defense_chain.DefenseChain.at`), which holds the defense itself, or holds it not.

    Attributes:
        defense: a single one, without a rule.
        rule: where it acts.

    Raises:
        InputError: a defense that takes no rule.
    """

    defense: Defense
    rule: DefenseRule

    def __post_init__(self) -> None:
        if isinstance(self.defense, Conditional) or hasattr(self.defense, "defenses"):
            raise InputError("a rule belongs to a single defense without one: give each defense a rule of its own")
        if type(self.defense).tier_floor is not Defense.tier_floor:
            raise InputError(
                f"{name_of(self.defense)} takes no rule ('@{self.rule}'): it decides itself which tiers a client "
                "accepts; leave the rule out"
            )

    @property
    def facts(self) -> DefenseFacts:  # type: ignore[override]  # of an instance here, as it depends on what it holds
        """Those of the defense itself."""
        return self.defense.facts

    @property
    def own_name(self) -> str:
        """The defense's name, with the rule."""
        return f"{name_of(self.defense)}@{self.rule}"

    @property
    def per_token(self) -> bool:
        """As the defense itself."""
        return self.defense.per_token

    def _at(self, at: ClientRound) -> Defense:
        return self.defense if self.rule.holds(Case(tier=at.tier, profile=at.profile)) else NOTHING

    def _ask(self) -> NoReturn:
        raise ValueError(f"{name_of(self)} acts at some clients only: ask DefenseChain.at(tier, profile) first")

    def calibrated(self, run: RunFacts) -> "Conditional":
        """Calibrate the defense as if the client were where it acts in all rounds."""
        tiers = tuple(tier for tier in run.tiers if self.rule.in_tier(tier))
        return replace(self, defense=self.defense.calibrated(replace(run, tiers=tiers)))

    def require_records(self, run: RunFacts) -> None:
        """Ask the defense, as if the client were where it acts."""
        self.defense.require_records(run)

    def inspect(self, download: ModelDownload, at: ClientRound) -> Sequence[Remark]:
        """Let the defense look where it acts."""
        return self._at(at).inspect(download, at)

    def inspect_reply(self, reply: GradientReply, labels: Tensor, at: ClientRound) -> Sequence[Remark]:
        """Let the defense look where it acts."""
        return self._at(at).inspect_reply(reply, labels, at)

    def training_pass(self, training: LocalTraining, at: ClientRound) -> list[Tensor] | None:
        """Let the defense train where it acts."""
        return self._at(at).training_pass(training, at)

    def protect_labels(self, labels: Tensor, records: Tensor, at: ClientRound) -> Tensor:
        """Apply the defense where it acts."""
        return self._at(at).protect_labels(labels, records, at)

    def protect_inputs(self, inputs: Tensor, at: ClientRound) -> Tensor:
        """Apply the defense where it acts."""
        return self._at(at).protect_inputs(inputs, at)

    def encode(self, smashed: Tensor, at: ClientRound) -> Tensor:
        """Apply the defense where it acts."""
        return self._at(at).encode(smashed, at)

    def expect(self, smashed: Tensor, at: ClientRound) -> Tensor:
        """Apply the defense where it acts."""
        return self._at(at).expect(smashed, at)

    def local_loss(self, loss: Tensor, step: LocalStep, at: ClientRound) -> Tensor:
        """Apply the defense where it acts."""
        return self._at(at).local_loss(loss, step, at)

    def protect_batch(self, message: SmashedBatch, at: ClientRound) -> SmashedBatch:
        """Apply the defense where it acts."""
        return self._at(at).protect_batch(message, at)

    def protect_update(self, message: WeightUpdate, at: ClientRound) -> WeightUpdate:
        """Apply the defense where it acts."""
        return self._at(at).protect_update(message, at)

    def check(self, cut: Cut) -> None:
        """Not without a client."""
        self._ask()

    def classification_loss(self, logits: Tensor, labels: Tensor) -> Tensor | None:
        """Not without a client."""
        self._ask()

    def guarantees(self, released: RoundRelease) -> Sequence[Guarantee]:
        """Not without a client."""
        self._ask()

    def extra_macs(self, cut: Cut) -> int:
        """Not without a client."""
        self._ask()

    def wire_bytes(self, cut: Cut) -> int:
        """Not without a client."""
        self._ask()

    def read(self, reading: Reading) -> Reading:
        """Not without a client."""
        self._ask()

    def known_noise(self, cut: Cut) -> KnownNoise:
        """Not without a client."""
        self._ask()


def only_where(rule: str, defense: Defense) -> Conditional:
    """Return a defense that acts only where a rule holds, as ``only_where("tier<=2", GaussianNoise(sd=8))``.

    Raises:
        InputError: the rule is not understood, or the defense takes none.
    """
    return Conditional(defense=defense, rule=DefenseRule.parse(rule))


def bare(defense: Defense) -> Defense:
    """Return a defense without its rule."""
    return defense.defense if isinstance(defense, Conditional) else defense


def rule_of(defense: Defense) -> DefenseRule:
    """Return where a defense acts."""
    return defense.rule if isinstance(defense, Conditional) else EVERYWHERE
