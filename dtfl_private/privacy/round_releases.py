"""What a client releases in a round: the guarantees of its messages, charged to its ledger."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from dtfl_private.data.registration import Statistics
from dtfl_private.privacy.disclosure import EVERYTHING
from dtfl_private.privacy.ledger import Ledger, OnBudget, charge
from dtfl_private.protection.defense_chain import DefenseChain, full_round
from dtfl_private.protection.defense_rule import Case
from dtfl_private.protocol.assumptions import AssumptionName
from dtfl_private.protocol.contracts import IntArray
from dtfl_private.protocol.guarantees import Guarantee, Protected
from dtfl_private.simulation.round_plan import RoundPlan


@dataclass(frozen=True, kw_only=True)
class PrivacySettings:
    """What a client releases in a full round, and what happens when that would exceed its budget.

    defense: states the guarantees and, in their targets, the budgets.
    images_K: N_k of each client.
    sends: what leaves the clients in the run's method.
    full_tier: whether clients may keep the whole network, and then send weights alone.
    assumed: what is taken for granted of what the server sees.
    next_tokens: whether labels are the tokens of the texts themselves.
    statistics: what clients say of their images before round 1, see `Registration`.
    on_budget: "retire": the client takes no further part; "stop": the run ends.
    """

    defense: DefenseChain
    images_K: IntArray
    batch_size: int
    local_epochs: int
    on_budget: OnBudget = "retire"
    sends: tuple[Protected, ...] = EVERYTHING
    full_tier: bool = False
    assumed: tuple[AssumptionName, ...] = ()
    next_tokens: bool = False
    statistics: Statistics | None = None


def round_guarantees(
    settings: PrivacySettings,
    records: int,
    *,
    at: Case | None = None,
    batches: bool = True,
    update: bool = True,
) -> tuple[Guarantee, ...]:
    """Return what holds of a round of a client with so many records that sends batches, and its update.

    Args:
        settings: of the run.
        records: N_k.
        at: tier and profile of the client; None where the defense is that of a client already.
        batches: whether it sends smashed data.
        update: whether it sends its weights.
    """
    defense = settings.defense if at is None else settings.defense.at(at.tier, at.profile)
    released = full_round(
        defense,
        records=records,
        batch_size=settings.batch_size,
        local_epochs=settings.local_epochs,
        batches=batches,
        update=update,
    )
    return tuple(defense.guarantees(released))


def possible_guarantees(settings: PrivacySettings, records: int) -> set[tuple[Guarantee, ...]]:
    """Return what may hold of a full round of a client with so many records, in the tiers and profiles it may have."""
    cases = [of_chain[0] for of_chain, _ in settings.defense.variants()]
    return {round_guarantees(settings, records, at=case) for case in cases}


def _case(tier: int, profile: str) -> Case:
    return Case(tier=tier, profile=profile)


def charge_scheduled(
    ledgers: Mapping[int, Ledger], plan: RoundPlan, settings: PrivacySettings, whole_tier: int | None = None
) -> Mapping[int, Ledger]:
    """Return the ledgers after a round that was scheduled only: as a training charges it.

    Args:
        ledgers: of all clients; empty if nothing is guaranteed.
        plan: the round.
        settings: what a client releases.
        whole_tier: the tier whose clients send weights alone, if there is one.
    """
    if not ledgers:
        return ledgers

    @cache
    def charged(ledger: Ledger, records: int, at: Case | None, batches: bool, update: bool) -> Ledger:
        return charge(ledger, round_guarantees(settings, records, at=at, batches=batches, update=update))

    after = dict(ledgers)
    sends_P = (plan.sent_batches_P > 0) & (plan.tiers_P != (whole_tier or 0))
    cases: Iterable[Case | None] = map(_case, plan.tiers_P.tolist(), plan.profile_names_P)
    if not settings.defense.by_tier:  # then all are alike, and one answer serves them all
        cases = [None] * len(plan.clients_P)
    for client, case, sends, dropped in zip(
        plan.clients_P.tolist(), cases, sends_P.tolist(), plan.dropped_P.tolist(), strict=True
    ):
        after[client] = charged(after[client], int(settings.images_K[client]), case, sends, not dropped)
    return after
