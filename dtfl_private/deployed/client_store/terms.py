"""What a client has agreed to, and what it answers to a server that asks for more."""

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

from dtfl_private.privacy.budget import exceeds
from dtfl_private.privacy.ledger import Ledger
from dtfl_private.privacy.round_releases import PrivacySettings, round_guarantees
from dtfl_private.protection.defense_rule import Case
from dtfl_private.protocol.guarantees import Guarantee

Chance = Literal["secret", "seeded"]
"""Where a client's chance comes from: from its own machine, or from the run's seed, which the server knows.

With ``seeded`` chance a deployment repeats a simulation bit for bit, and no guarantee of a defense holds.
"""


SPARE_ROUNDS = 10
"""Rounds that a client without a guarantee repeats at least, as after each end of a server that is not planned."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a client has agreed to, by the configuration and its own images: nothing of it is what a server says later.

    Attributes:
        client: number of its certificate.
        records: N_k, its training images.
        data: SHA-256 of its images and labels, in hexadecimal.
        rounds: of the run.
        tiers: client modules m that it may be asked to hold.
        profiles: names of resource profiles that a round may name for it; None for any. Where rules of defenses depend
            on the profile, that is its own one: a server could name another, and switch a defense off.
        privacy: defenses (calibrated), batch size and local epochs, from which follows what a round releases.
        chance: where the client's chance comes from; see `Chance`.
    """

    client: int
    records: int
    data: str
    rounds: int
    tiers: frozenset[int]
    profiles: frozenset[str] | None = None
    privacy: PrivacySettings
    chance: Chance = "secret"

    def __post_init__(self) -> None:
        if self.profiles is None and self.privacy.defense.by_profile:
            raise ValueError("rules of defenses depend on the profile: say which ones this client can have")

    @property
    def batches(self) -> int:
        """Batches of a full round."""
        return -(-self.records // self.privacy.batch_size) * self.privacy.local_epochs

    def releases(self, asked: "AskedRound") -> tuple[Guarantee, ...]:
        """Return the most that a round can release: all its batches and its update."""
        case = Case(tier=asked.tier, profile=asked.profile)
        return round_guarantees(self.privacy, self.records, at=case)

    def draw_key(self, agreed: str) -> str:
        """Return the key of the memoised draws, in hexadecimal: what they depend on, and what they are drawn for.

        Equal noise on an image that is clipped or scaled otherwise would give the image away, as would equal chance in
        a randomised response of another epsilon: whatever differs, the draws are others.
        """
        what = [agreed, self.data, self.client, repr(self.privacy.defense.defenses), self.chance]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class AskedRound:
    """What a server asks of a client for a round; nothing of it is believed.

    Attributes:
        run: id of the run.
        round: number, from 1.
        tier: client modules m.
        batches: batches to train on.
        batch_size: images of a batch, as far as the server names it.
        profile: name of the client's resource profile; "" where the server names none.
    """

    run: str
    round: int
    tier: int
    batches: int
    batch_size: int | None = None
    profile: str = ""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a client takes no part in a round.

    Attributes:
        reason: for the server: short, and without a figure of the ledger, which never leaves.
        detail: for the client's own log.
    """

    reason: str
    detail: str


def not_agreed(asked: AskedRound, terms: Terms, run: str | None) -> Refusal | None:
    """Return why a round is none that the client has agreed to; ``run`` is the one that it takes part in."""
    for wrong, reason, detail in (
        (asked.run != run, "not the run that this client joined", f"run '{asked.run}', joined '{run}'"),
        (not 1 <= asked.round <= terms.rounds, "round beyond the plan", f"round {asked.round} of {terms.rounds}"),
        (asked.tier not in terms.tiers, "tier not agreed", f"tier {asked.tier}, agreed {sorted(terms.tiers)}"),
        (
            not 1 <= asked.batches <= terms.batches,
            "more batches than agreed" if asked.batches > 0 else "no batches",
            f"{asked.batches} batches, agreed 1 to {terms.batches}",
        ),
        (
            asked.batch_size not in (None, terms.privacy.batch_size),
            "batch size not agreed",
            f"batches of {asked.batch_size}, agreed {terms.privacy.batch_size}",
        ),
        (
            terms.profiles is not None and asked.profile not in terms.profiles,
            "resource profile not agreed",
            f"profile '{asked.profile}', agreed {sorted(terms.profiles or ())}",
        ),
    ):
        if wrong:
            return Refusal(reason=reason, detail=f"{reason}: {detail}")
    return None


def overspent(ledger: Ledger, asked: AskedRound, terms: Terms, begun: int) -> Refusal | None:
    """Return why the client's privacy does not allow a round, or it has been asked for too many.

    Args:
        ledger: all that the client has released, in all runs.
        asked: the round.
        terms: what the client has agreed to.
        begun: rounds of this run that the client has begun, each as often as it was begun: a round that is asked for
            again releases again.
    """
    releases = terms.releases(asked)
    # Without a guarantee a repeated round costs no epsilon, but it shows the same records once more.
    most = terms.rounds if releases else terms.rounds + max(terms.rounds, SPARE_ROUNDS)
    if begun >= most:
        reason = "as many rounds as agreed"
        detail = (
            f"{reason}: {begun} begun in this run of {terms.rounds}, repeated ones counted anew; at most {most} are"
        )
        return Refusal(reason=reason, detail=detail)
    if releases and exceeds(ledger, releases):
        reason = "privacy budget spent"
        detail = f"{reason}: round {asked.round} would exceed the epsilon that this client's data may be spent with"
        return Refusal(reason=reason, detail=detail)
    return None
