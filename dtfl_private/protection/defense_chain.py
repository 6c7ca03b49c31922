"""Defenses in a row are a defense: each rewrites what the one before it left."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import final, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from dtfl_private.errors import InputError
from dtfl_private.models.next_token import task_loss
from dtfl_private.models.padding import kept, real_places
from dtfl_private.protection.base import Defense, Place, name_of
from dtfl_private.protection.client_context import ClientRound, LocalStep, LocalTraining, Remark
from dtfl_private.protection.conditional import Conditional, bare, rule_of
from dtfl_private.protection.cost import Cut, KnownNoise, RoundRelease, RunFacts, TokenPlaces
from dtfl_private.protection.defense_rule import Case, DefenseRule, representative_cases
from dtfl_private.protection.release_reading import Reading
from dtfl_private.protection.wire_format import WireFormat
from dtfl_private.protocol.guarantees import Guarantee, Kind, NoisyInputs, RandomizedResponse, Undefended
from dtfl_private.protocol.messages import GradientReply, ModelDownload, SmashedBatch, WeightUpdate, Wire, below


@final
class DefenseChain(Defense):
    """Defenses applied one after the other: a chain is a defense. The empty chain changes nothing.

    The chain of a run may hold defenses with rules, which act at some clients only. That of a client, `at`, holds those
    that act there, without rules; what is asked of one client or release is asked of that.

    Args:
        defenses: in the order in which they act.
        wire: how what they leave is written on the wire, which is no defense; None for the run's own type.
        class_weights: weights of the classes in the training loss, float64 (classes,), which are no defense either;
            None where all count alike.
    """

    def __init__(
        self,
        defenses: Iterable[Defense] = (),
        wire: WireFormat | None = None,
        class_weights: Tensor | None = None,
    ) -> None:
        # Flat, for what is asked of the members' facts must not be hidden in an inner chain.
        self.defenses: tuple[Defense, ...] = tuple(
            member for defense in defenses for member in (defense if isinstance(defense, DefenseChain) else (defense,))
        )

        self.wire = wire
        self.class_weights = class_weights
        self.padding: int | None = None
        self.token_places: TokenPlaces | None = None
        self._tier = 0
        self._places: tuple[int, ...] | None = None
        self._draws: tuple[int, ...] | None = None
        self._idle: tuple[Defense, ...] = ()
        self._apart = False
        self._cases: tuple[Case, ...] = ()

    def __iter__(self) -> Iterator[Defense]:
        return iter(self.defenses)

    def _with(self, defenses: Iterable[Defense]) -> "DefenseChain":
        found = copy.copy(self)
        found.defenses = tuple(defenses)
        return found

    @property
    def undefended(self) -> "DefenseChain":
        """The same wire and loss without the defenses."""
        return DefenseChain(wire=self.wire, class_weights=self.class_weights).padded_by(self.padding)

    def padded_by(self, token: int | None) -> "DefenseChain":
        """Return the same defenses for sequences that this token fills up; None: there is no padding.

        Whatever members do to activations, places that are padding are zero afterwards. Which they are is told by the
        client's tokens and not by zeros in its activations: a server could choose weights that make real places zero,
        on which noise would then be missing.
        """
        found = self._with(self.defenses)
        found.padding = token
        return found

    def real_places(self, at: ClientRound) -> Tensor | None:
        """Return which places (B, T) of the batch under way are not padding; None where there is no padding."""
        if self.padding is None:
            return None
        if at.forward is None:
            raise ValueError("padding is told by the batch under way: at.during(...) is missing")
        return at.forward.inputs != self.padding

    def over_places(self, places: TokenPlaces | None) -> "DefenseChain":
        """Return the same defenses for texts with these places; None: there are none."""
        found = self._with(self.defenses)
        found.token_places = places
        return found

    def weighing(self, class_weights: Tensor) -> "DefenseChain":
        """Return the same defenses with these weights of classes in the training loss."""
        found = self._with(self.defenses)
        found.class_weights = class_weights
        return found

    def on_wire(self, name: Wire | None) -> "DefenseChain":
        """The same defenses before a wire of this format; None: as it is."""
        found = self._with(self.defenses)
        found.wire = self.wire if name is None else WireFormat(kind=name)
        return found

    @property
    def ruled(self) -> bool:
        """Whether a member has a rule, so that clients differ in what acts."""
        return any(isinstance(member, Conditional) for member in self.defenses)

    @property
    def by_tier(self) -> bool:
        """Whether clients may differ, by rules, in what acts, or by their tier in what is guaranteed."""
        return self.ruled or self._per_token

    @property
    def _per_token(self) -> bool:
        """Whether a guarantee is of single tokens in some tiers."""
        places = self.token_places
        return places is not None and places.apart_tiers > 0 and any(member.per_token for member in self.defenses)

    @property
    def by_profile(self) -> bool:
        """Whether clients of one tier may differ in what acts."""
        return any(rule_of(member).profile is not None for member in self.defenses)

    @property
    def places(self) -> tuple[int, ...]:
        """The members' places in the chain of the run, from which their chance and memory follow."""
        return self._places_of_the_run() if self._places is None else self._places

    @property
    def unruled(self) -> "DefenseChain":
        """The same defenses as if all rules held at once: for what is asked of the members, not of their sum."""
        return self._with(map(bare, self.defenses))

    def among(self, cases: Iterable[Case]) -> "DefenseChain":
        """Return the same defenses, among clients that can only be in these cases."""
        found = self._with(self.defenses)
        found._cases = tuple(cases)
        return found

    @property
    def cases(self) -> tuple[Case, ...]:
        """The tiers and profiles that a client can be in; where nobody has said, one of each kind that rules tell."""
        rules = [rule_of(member) for member in self.defenses]
        if self._per_token and self.token_places is not None:
            rules.append(DefenseRule(high=self.token_places.apart_tiers))
        return self._cases or representative_cases(rules)

    def at(self, tier: int, profile: str = "") -> "DefenseChain":
        """Return what acts at a client: the members whose rules hold there, each with the chance that it always has.

        All else is as in the run: with a member that sends apart, all clients train first and send afterwards.

        Args:
            tier: client modules m.
            profile: name of the client's resource profile.
        """
        case = Case(tier=tier, profile=profile)
        if not self.ruled:
            if not self._per_token:
                return self
            found = self._with(self.defenses)
            found._tier, found._cases = tier, (case,)
            return found
        holds = [rule_of(member).holds(case) for member in self.defenses]
        members = [bare(member) for member in self.defenses]
        found = self._with(member for member, active in zip(members, holds, strict=True) if active)
        found._places = tuple(place for place, active in zip(self.places, holds, strict=True) if active)
        found._draws = tuple(draw for draw, active in zip(self._draws_of_members(), holds, strict=True) if active)
        found._idle = tuple(member for member, active in zip(members, holds, strict=True) if not active)
        found._apart, found._cases, found._tier = self.releases_apart, (case,), tier
        return found

    def variants(self) -> list[tuple[list[Case], "DefenseChain"]]:
        """Return the different chains that act in the `cases`, each with those where it does.

        Where a guarantee is of single tokens in some tiers, equal chains that guarantee different things are two.
        """
        found: dict[tuple[tuple[int, ...], bool], tuple[list[Case], DefenseChain]] = {}
        for case in self.cases:
            holds = tuple(place for place, member in enumerate(self.defenses) if rule_of(member).holds(case))
            apart = self._per_token and self.token_places is not None and self.token_places.apart(case.tier)
            found.setdefault((holds, apart), ([], self.at(case.tier, case.profile)))[0].append(case)
        return list(found.values())

    def _places_of_the_run(self) -> tuple[int, ...]:
        """Return each member's place, from which its chance and memory follow.

        Equal defenses with rules, of which one acts at most, are one defense in several cases: a label that was drawn
        is not drawn anew in another tier.
        """
        found: list[int] = []
        for place, member in enumerate(self.defenses):
            earlier = self.defenses[:place] if isinstance(member, Conditional) else ()
            equal = [p for p, one in enumerate(earlier) if isinstance(one, Conditional) and bare(one) == bare(member)]
            found.append(equal[0] if equal else place)
        return tuple(found)

    def _draws_of_members(self) -> tuple[int, ...]:
        """Return which draw of its kind each member repeats: 0 for the first, 1 for one of another place, and so on.

        In two tiers a client may meet two defenses of a kind, whose draws both count, however equal they are.
        """
        if self._draws is not None:
            return self._draws
        found: list[int] = []
        for member, place in zip(self.defenses, self.places, strict=True):
            own = [
                p for p, one in zip(self.places, self.defenses, strict=True) if type(bare(one)) is type(bare(member))
            ]
            found.append(list(dict.fromkeys(own)).index(place))
        return tuple(found)

    def round_of(self, position: int, at: ClientRound) -> ClientRound:
        """Return a round as the member at a position of this chain sees it."""
        return at.member(self.places[position])

    def _members(self, at: ClientRound) -> Iterator[tuple[Defense, ClientRound]]:
        for position, defense in enumerate(self.defenses):
            yield defense, self.round_of(position, at)

    @property
    def releases_apart(self) -> bool:
        """Whether the client trains first and sends afterwards."""
        return self._apart or any(defense.facts.releases_apart for defense in self.defenses)

    @property
    def tier_floor(self) -> int:
        """The highest floor of the members."""
        return max((defense.tier_floor for defense in self.defenses), default=1)

    def calibrated(self, run: RunFacts) -> "DefenseChain":
        """Calibrate each member."""
        return self._with(
            [
                defense.calibrated(replace(run, places=self._places_seen_by(position)))
                for position, defense in enumerate(self.defenses)
            ]
        )

    def require_records(self, run: RunFacts) -> None:
        """Ask each member."""
        for position, defense in enumerate(self.defenses):
            defense.require_records(replace(run, places=self._places_seen_by(position)))

    def _places_seen_by(self, position: int) -> TokenPlaces | None:
        """Return the places as a member finds them: what changes a text before it may carry tokens to other places."""
        if self.token_places is None:
            return None
        own = rule_of(self.defenses[position])
        mixed = any(
            _changes_activations(member, earlier=place < position)
            for place, member in enumerate(self.defenses)
            if place != position and rule_of(member).overlaps(own)
        )
        return replace(self.token_places, apart_tiers=0) if mixed else self.token_places

    def _seen_by(self, position: int, released: RoundRelease) -> RoundRelease:
        """Return what was released, with the places of texts as a member finds them."""
        places = self._places_seen_by(position)
        if places is None:
            return released
        return replace(released, places=places.most, apart=self._tier > 0 and places.apart(self._tier))

    def check(self, cut: Cut) -> None:
        """Let each member refuse the cut, and refuse a wire on which padding would change other places."""
        for defense in self.defenses:
            defense.check(cut)
        if self.padding is not None and self.wire is not None and not self.wire.keeps_zero_rows(cut.cut_shape):
            raise InputError(
                f"wire {self.wire.kind} gives a whole record one range at cuts of shape {cut.cut_shape}, and padding "
                "would change what other places become: use --wire fp32 or bf16"
            )

    def inspect(self, download: ModelDownload, at: ClientRound) -> Sequence[Remark]:
        """Return the remarks of all members."""
        return [remark for defense, own in self._members(at) for remark in defense.inspect(download, own)]

    def inspect_reply(self, reply: GradientReply, labels: Tensor, at: ClientRound) -> Sequence[Remark]:
        """Return the remarks of all members."""
        return [remark for defense, own in self._members(at) for remark in defense.inspect_reply(reply, labels, own)]

    def training_pass(self, training: LocalTraining, at: ClientRound) -> list[Tensor] | None:
        """Let the first member that trains itself do so."""
        for defense, own in self._members(at):
            losses = defense.training_pass(training, own)
            if losses is not None:
                return losses
        return None

    def protect_labels(self, labels: Tensor, records: Tensor, at: ClientRound) -> Tensor:
        """Apply each member in order."""
        for defense, own in self._members(at):
            labels = defense.protect_labels(labels, records, own)
        return labels

    def protect_inputs(self, inputs: Tensor, at: ClientRound) -> Tensor:
        """Apply each member in order."""
        for defense, own in self._members(at):
            inputs = defense.protect_inputs(inputs, own)
        return inputs

    def encode(self, smashed: Tensor, at: ClientRound) -> Tensor:
        """Apply each member in order."""
        real = self.real_places(at)
        for defense, own in self._members(at):
            smashed = kept(defense.encode(smashed, own), real)
        return smashed

    def expect(self, smashed: Tensor, at: ClientRound) -> Tensor:
        """Apply each member in order."""
        real = self.real_places(at)
        for defense, own in self._members(at):
            smashed = kept(defense.expect(smashed, own), real)
        return smashed

    def read(self, reading: Reading) -> Reading:
        """Read backwards: the wire, then what members did to the message, the last first, to activations, to inputs."""
        if self.padding is not None:  # zeros that are no noise, and tell nothing but where a text ends
            reading = replace(reading, shown=reading.shown & real_places(reading.values)[..., None])
        reading = reading if self.wire is None else self.wire.read(reading)
        for position, defense in sorted(enumerate(self.defenses), key=_when, reverse=True):
            own = replace(reading, known=below(f"{self.places[position]}/", reading.known))
            reading = replace(defense.read(own), known=reading.known)
        return reading

    def classification_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of the first member that has one, or cross-entropy with the weights of the classes."""
        for defense in self.defenses:
            loss = defense.classification_loss(logits, labels)
            if loss is not None:
                return loss
        return weighted_cross_entropy(logits, labels, self.class_weights)

    def local_loss(self, loss: Tensor, step: LocalStep, at: ClientRound) -> Tensor:
        """Apply each member in order."""
        for defense, own in self._members(at):
            loss = defense.local_loss(loss, step, own)
        return loss

    def protect_batch(self, message: SmashedBatch, at: ClientRound) -> SmashedBatch:
        """Apply each member in order."""
        real = self.real_places(at)
        for defense, own in self._members(replace(at, real=real)):
            message = defense.protect_batch(message, own)
            if real is not None and message.packed is None:
                message = replace(message, smashed=kept(message.smashed, real))
        return self.written(message)

    def written(self, message: SmashedBatch) -> SmashedBatch:
        """Return a message as the server reads it from the wire."""
        return message if self.wire is None else self.wire.sent(message)

    def protect_update(self, message: WeightUpdate, at: ClientRound) -> WeightUpdate:
        """Apply each member in order."""
        for defense, own in self._members(at):
            message = defense.protect_update(message, own)
        return message

    def guarantees(self, released: RoundRelease) -> Sequence[Guarantee]:
        """Return the guarantees of all members, and that there is none of a kind that members give elsewhere."""
        stated = [
            _of_draw(guarantee, draw)
            for position, (defense, draw) in enumerate(zip(self.defenses, self._draws_of_members(), strict=True))
            for guarantee in defense.guarantees(self._seen_by(position, released))
        ]
        given = {type(guarantee).__name__ for guarantee in stated}
        of_texts = released if self.token_places is None else replace(released, places=self.token_places.most)
        elsewhere = {type(one).__name__ for defense in self._idle for one in defense.guarantees(of_texts)}
        kinds: tuple[Kind, ...] = get_args(Kind)
        return [*stated, *(Undefended(instead_of=kind) for kind in kinds if kind in elsewhere - given)]

    def extra_macs(self, cut: Cut) -> int:
        """Return the sum over the members."""
        return sum(defense.extra_macs(cut) for defense in self.defenses)

    def wire_bytes(self, cut: Cut) -> int:
        """Return the bytes after the last member that changes them, or those of the wire's format."""
        size = cut.smashed_bytes if self.wire is None else self.wire.record_bytes(cut.cut_shape)
        for defense in self.defenses:
            size = defense.wire_bytes(replace(cut, smashed_bytes=size))
        return size

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


def _of_draw(guarantee: Guarantee, draw: int) -> Guarantee:
    """Return a guarantee that knows which draw of its kind it is of, where later rounds repeat the draw."""
    if isinstance(guarantee, RandomizedResponse) or (isinstance(guarantee, NoisyInputs) and guarantee.repeated):
        return replace(guarantee, draw=draw)
    return guarantee


def _changes_activations(member: Defense, *, earlier: bool) -> bool:
    """Whether a member acts on a record before another one acts on its message, in whatever way."""
    own, hooks = type(bare(member)), ["protect_inputs", "encode", *(["protect_batch"] if earlier else [])]
    return any(getattr(own, hook) is not getattr(Defense, hook) for hook in hooks)


def _when(member: tuple[int, Defense]) -> tuple[int, int]:
    """Return by what members are sorted in the order in which they act on a record: place, then position."""
    position, defense = member
    places = defense.facts.acts_on
    return (0 if "input" in places else 1 if "activations" in places else 2), position


def _why_unknown(defense: Defense) -> str:
    name, guarantee = name_of(defense), defense.facts.guarantee
    own = "" if guarantee == "none" else f"; its own guarantee: {guarantee}"
    return f"{name} changes the smashed data in a way that noise of one known deviation does not cover{own}"


def weighted_cross_entropy(logits: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
    """Return the mean over records of weight times cross-entropy; of plain cross-entropy without weights.

    By the number of records and not, as torch's own mean, by the sum of their weights: so what a record adds does not
    depend on the others of its batch, and the mean over batches is that over all records.

    Args:
        logits: (B, classes); or of a language model (B, T, vocabulary), whose loss is a mean over places.
        labels: (B,) class numbers, or (B, classes) probabilities; or (B, T) tokens.
        class_weights: (classes,).
    """
    if class_weights is None:
        return task_loss(logits, labels)
    exact = torch.promote_types(logits.dtype, torch.float32)  # bf16 would round the weights
    weights = class_weights.to(device=logits.device, dtype=exact)
    return F.cross_entropy(logits.to(exact), labels, weight=weights, reduction="sum") / len(labels)


def full_round(
    defense: DefenseChain,
    *,
    records: int,
    batch_size: int,
    local_epochs: int,
    batches: bool = True,
    update: bool = True,
) -> RoundRelease:
    """Return what a client of ``records`` records releases in a round."""
    return RoundRelease(
        records=records,
        batch_size=batch_size,
        steps=-(-records // batch_size) * local_epochs,
        epochs=1 if defense.releases_apart else local_epochs,
        batches=batches,
        update=update,
    )
