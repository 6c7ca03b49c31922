"""Privacy budgets: whether a client may take part in one more round, and when that ends a run."""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache

import numpy as np

from dtfl_private.privacy.accounting import released_epsilon, steps_of, unit_of
from dtfl_private.privacy.ledger import Ledger, charge
from dtfl_private.privacy.round_releases import PrivacySettings, possible_guarantees, round_guarantees
from dtfl_private.privacy.sampled_gaussian_epsilon import exceeds_epsilon
from dtfl_private.protocol.guarantees import GaussianRelease, Guarantee, NoisyInputs, SampledGaussian

# A budget that was calibrated to be used up exactly is not to fail by a rounding error of the sums.
SLACK = 1e-9


def exceeds(ledger: Ledger, next_round: Iterable[Guarantee]) -> bool:
    """Return whether one more round, with these guarantees, would exceed a target's epsilon.

    Everything of a kind that the client has released counts, whatever its target was then. A guarantee without a
    target epsilon has no budget; nor has a randomised response, which is spent once. DP-SGD steps are counted by the
    tight accountant.
    """
    after = charge(ledger, next_round)
    sampled = [entry for entry in after if isinstance(entry, SampledGaussian)]
    releases = [entry for entry in after if isinstance(entry, GaussianRelease)]
    inputs = [entry for entry in after if isinstance(entry, NoisyInputs)]
    steps = steps_of(sampled)
    return (
        any(
            exceeds_epsilon(steps, target.delta, target.epsilon * (1 + SLACK))
            for target in {entry.target for entry in sampled}
            if target.epsilon is not None
        )
        or _released_too_much(releases)
        or _released_too_much(inputs)
    )


def _released_too_much(entries: Sequence[GaussianRelease] | Sequence[NoisyInputs]) -> bool:
    """Return whether all these releases exceed a target of one of them, each target by the unit that it is of."""
    return any(
        released_epsilon(entries, target.delta, unit) > target.epsilon * (1 + SLACK)
        for target, unit in {(entry.target, unit_of(entry)) for entry in entries}
        if target.epsilon is not None
    )


def spent_clients(ledgers: Mapping[int, Ledger], settings: PrivacySettings) -> frozenset[int]:
    """Return the clients that one more full round would take over budget: in any tier, with any profile, they may get.

    What they send where no rule of a defense holds counts on no budget: that is of what the defense protects.
    """

    @cache  # of many clients, most have released the same
    def spent(ledger: Ledger, records: int) -> bool:
        return any(exceeds(ledger, one) for one in possible_guarantees(settings, records))

    return frozenset(client for client, ledger in ledgers.items() if spent(ledger, int(settings.images_K[client])))


def planned_ledgers(settings: PrivacySettings, rounds: int) -> dict[int, Ledger]:
    """Return what clients will have released if they take part as often as they can, one client per number of records.

    That is in all rounds, or in as many as the budget allows. Where clients differ (`DefenseChain.by_tier`), one chain
    is asked for, that of a client (`DefenseChain.at`).
    """
    planned = {}
    for records in sorted({int(images) for images in settings.images_K}):
        client = int(np.flatnonzero(settings.images_K == records)[0])
        planned[client] = _within_budget(round_guarantees(settings, records), rounds)
    return planned


def _within_budget(guarantees: Sequence[Guarantee], rounds: int) -> Ledger:
    """Return the ledger after ``rounds`` equal rounds, or after the last one that the budget allows."""

    def after(count: int) -> Ledger:
        return charge((), [*guarantees] * count)

    possible = range(rounds)
    # What is spent grows with every round, so that the rounds that exceed the budget are the last ones.
    first_refused = bisect_left(possible, True, key=lambda count: exceeds(after(count), guarantees))
    return after(first_refused)


def end_of_run(ledgers: Mapping[int, Ledger], settings: PrivacySettings, exposed: Collection[int] = ()) -> str | None:
    """Return why the run must end before its next round, or None; ``exposed`` clients have no exposure budget left."""
    spent = sorted(spent_clients(ledgers, settings))
    if spent and settings.on_budget == "stop":
        return f"client {spent[0]} has spent its privacy budget, and the run is to stop then (on_budget = stop)"
    if len({*spent, *exposed}) < len(settings.images_K):
        return None
    kinds = [kind for kind, clients in (("privacy", spent), ("exposure", exposed)) if clients]
    return f"all clients have spent their {' or '.join(kinds)} budgets"
