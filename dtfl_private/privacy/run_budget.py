"""Privacy budgets of a run: which clients have none left for another round."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from dtfl_private.data.registration import Statistics
from dtfl_private.privacy.budget import exceeds
from dtfl_private.privacy.disclosure import EVERYTHING
from dtfl_private.privacy.ledger import Ledger, OnBudget, charge
from dtfl_private.protection.chain import DefenseChain, full_round
from dtfl_private.protocol.contracts import IntArray
from dtfl_private.protocol.guarantees import Guarantee, Protected
from dtfl_private.simulation.round_plan import RoundPlan


@dataclass(frozen=True, kw_only=True)
class BudgetSettings:
    """What a client releases in a full round, and what happens when that would exceed its budget.

    defense: states the guarantees and, in their targets, the budgets.
    images_K: N_k of each client.
    sends: what leaves the clients in the run's method.
    full_tier: whether clients may keep the whole network, and then send weights alone.
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
    statistics: Statistics | None = None


def spent_clients(ledgers: Mapping[int, Ledger], settings: BudgetSettings) -> frozenset[int]:
    """Return the clients that one more full round would take over budget."""

    @cache  # of many clients, most have released the same
    def spent(ledger: Ledger, records: int) -> bool:
        return exceeds(ledger, _guarantees(settings, records))

    return frozenset(client for client, ledger in ledgers.items() if spent(ledger, int(settings.images_K[client])))


def _guarantees(
    settings: BudgetSettings, records: int, *, batches: bool = True, update: bool = True
) -> tuple[Guarantee, ...]:
    """Return what holds of a round of a client with so many records that sends batches, and its update."""
    released = full_round(
        settings.defense,
        records=records,
        batch_size=settings.batch_size,
        local_epochs=settings.local_epochs,
        batches=batches,
        update=update,
    )
    return tuple(settings.defense.guarantees(released))


def charge_scheduled(
    ledgers: Mapping[int, Ledger], plan: RoundPlan, settings: BudgetSettings, whole_tier: int | None = None
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
    def charged(ledger: Ledger, records: int, batches: bool, update: bool) -> Ledger:
        return charge(ledger, _guarantees(settings, records, batches=batches, update=update))

    after = dict(ledgers)
    sends_P = (plan.sent_batches_P > 0) & (plan.tiers_P != (whole_tier or 0))
    for client, sends, dropped in zip(plan.clients_P.tolist(), sends_P.tolist(), plan.dropped_P.tolist(), strict=True):
        after[client] = charged(after[client], int(settings.images_K[client]), sends, not dropped)
    return after


def planned_ledgers(settings: BudgetSettings, rounds: int) -> dict[int, Ledger]:
    """Return what clients will have released if they take part as often as they can, one client per number of records.

    That is in all rounds, or in as many as the budget allows.
    """
    planned = {}
    for records in sorted({int(images) for images in settings.images_K}):
        released = full_round(
            settings.defense, records=records, batch_size=settings.batch_size, local_epochs=settings.local_epochs
        )
        client = int(np.flatnonzero(settings.images_K == records)[0])
        planned[client] = _within_budget([*settings.defense.guarantees(released)], rounds)
    return planned


def _within_budget(guarantees: Sequence[Guarantee], rounds: int) -> Ledger:
    """Return the ledger after ``rounds`` equal rounds, or after the last one that the budget allows."""

    def after(count: int) -> Ledger:
        return charge((), [*guarantees] * count)

    possible = range(rounds)
    # What is spent grows with every round, so that the rounds that exceed the budget are the last ones.
    first_refused = bisect_left(possible, True, key=lambda count: exceeds(after(count), guarantees))
    return after(first_refused)


def end_of_run(ledgers: Mapping[int, Ledger], settings: BudgetSettings) -> str | None:
    """Return why the run must end before its next round, or None."""
    spent = sorted(spent_clients(ledgers, settings))
    if spent and settings.on_budget == "stop":
        return f"client {spent[0]} has spent its privacy budget, and the run is to stop then (on_budget = stop)"
    if len(spent) == len(settings.images_K):
        return "all clients have spent their privacy budgets"
    return None
