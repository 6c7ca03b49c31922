"""Budgets: whether a client may take part in one more round."""

from collections.abc import Iterable

from dtfl_private.privacy.accounting import released_epsilon, steps_of
from dtfl_private.privacy.ledger import Ledger, charge
from dtfl_private.privacy.sampled_gaussian import exceeds_epsilon
from dtfl_private.protocol.guarantees import GaussianRelease, Guarantee, SampledGaussian

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
    steps = steps_of(sampled)
    return any(
        exceeds_epsilon(steps, target.delta, target.epsilon * (1 + SLACK))
        for target in {entry.target for entry in sampled}
        if target.epsilon is not None
    ) or any(
        released_epsilon(releases, target.delta) > target.epsilon * (1 + SLACK)
        for target in {entry.target for entry in releases}
        if target.epsilon is not None
    )
