"""Budgets: whether a client may take part in one more round."""

from collections.abc import Iterable

from dtfl_private.guarantees import GaussianRelease, Guarantee, SampledGaussian
from dtfl_private.privacy.accounting import released_epsilon, sampled_epsilon
from dtfl_private.privacy.ledger import Ledger, charge

# A budget that was calibrated to be used up exactly is not to fail by a rounding error of the sums.
SLACK = 1e-9


def exceeds(ledger: Ledger, next_round: Iterable[Guarantee]) -> bool:
    """Return whether one more round, with these guarantees, would exceed a target's epsilon.

    Everything of a kind that the client has released counts, whatever its target was then. A guarantee without a
    target epsilon has no budget; nor has a randomised response, which is spent once.
    """
    after = charge(ledger, next_round)
    sampled = [entry for entry in after if isinstance(entry, SampledGaussian)]
    releases = [entry for entry in after if isinstance(entry, GaussianRelease)]
    return any(
        _over(target.epsilon, sampled_epsilon(sampled, target.delta)) for target in {entry.target for entry in sampled}
    ) or any(
        _over(target.epsilon, released_epsilon(releases, target.delta))
        for target in {entry.target for entry in releases}
    )


def _over(budget: float | None, epsilon: float) -> bool:
    return budget is not None and epsilon > budget * (1 + SLACK)
