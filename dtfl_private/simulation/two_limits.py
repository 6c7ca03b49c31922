"""The best mixture of two round times: how long the rounds that are left may last if nobody is to exceed its budget."""

from dataclasses import dataclass

import numpy as np

from dtfl_private.protocol.contracts import FloatArray

MOST_LIMITS = 64
"""So many round times, at most, are looked at: evenly spaced among those that the clients' tiers make."""

MOST_CLIENTS = 5000
"""Of more clients every n-th is looked at."""


@dataclass(frozen=True, kw_only=True)
class TwoLimits:
    """A plan for the rounds that are left: a share of them within one limit, the rest within a longer one.

    Attributes:
        share: of rounds within the shorter limit, 0 to 1.
        shorter_s, longer_s: the limits, in seconds.
    """

    share: float
    shorter_s: float
    longer_s: float

    @property
    def mean_s(self) -> float:
        """Seconds of a round on average."""
        return self.share * self.shorter_s + (1 - self.share) * self.longer_s

    def next_s(self, rounds_left: float) -> float:
        """Return the limit of the next round: the shorter one as long as the plan has a whole such round left."""
        return self.shorter_s if self.share * rounds_left >= 1 - 1e-9 else self.longer_s


def best_two_limits(times_s_KM: FloatArray, cost_KM: FloatArray, most_K: FloatArray) -> TwoLimits:
    """Return the mixture of two limits with the least mean time in which no client's mean cost is above what it may be.

    Within a limit each client takes the tier that costs least of those in which it is in time.

    Args:
        times_s_KM: of each client in each tier; infinite where it may not be.
        cost_KM: what a round costs it there.
        most_K: what a round may cost it on average: no less than in its cheapest tier.
    """
    every = -(-len(times_s_KM) // MOST_CLIENTS)
    times_s_KM, cost_KM, most_K = times_s_KM[::every], cost_KM[::every], most_K[::every]
    limit_s_L = _limits(times_s_KM)
    cost_KL = cheapest_within(times_s_KM, cost_KM, limit_s_L)
    keeps_L = (cost_KL <= most_K[:, None]).all(axis=0)
    shortest = int(keeps_L.argmax())  # the last one does: there each client is in its cheapest tier
    best = TwoLimits(share=1.0, shorter_s=float(limit_s_L[shortest]), longer_s=float(limit_s_L[shortest]))
    if shortest == 0:
        return best
    for longer in np.flatnonzero(keeps_L).tolist():
        share_S = _largest_shares(cost_KL[:, :shortest], cost_KL[:, longer], most_K)
        mean_s_S = share_S * limit_s_L[:shortest] + (1 - share_S) * limit_s_L[longer]
        shorter = int(mean_s_S.argmin())
        if mean_s_S[shorter] < best.mean_s:
            best = TwoLimits(
                share=float(share_S[shorter]),
                shorter_s=float(limit_s_L[shorter]),
                longer_s=float(limit_s_L[longer]),
            )
    return best


def cheapest_within(times_s_KM: FloatArray, cost_KM: FloatArray, limit_s_L: FloatArray) -> FloatArray:
    """Return the least cost at which each client is in time for each limit, (K, L); infinite where it cannot be."""
    cost_KL = np.full((len(times_s_KM), len(limit_s_L)), np.inf)
    for times_s_K, cost_K in zip(times_s_KM.T, cost_KM.T, strict=True):
        np.minimum(cost_KL, np.where(times_s_K[:, None] <= limit_s_L, cost_K[:, None], np.inf), out=cost_KL)
    return cost_KL


def _limits(times_s_KM: FloatArray) -> FloatArray:
    """Return the round times that tiers make, ascending: from the shortest possible one on."""
    all_s = np.unique(times_s_KM[np.isfinite(times_s_KM)])
    limit_s_L: FloatArray = all_s[all_s >= times_s_KM.min(axis=1).max()]
    if len(limit_s_L) > MOST_LIMITS:
        limit_s_L = limit_s_L[np.linspace(0, len(limit_s_L) - 1, MOST_LIMITS).astype(np.int64)]
    return limit_s_L


def _largest_shares(shorter_KS: FloatArray, longer_K: FloatArray, most_K: FloatArray) -> FloatArray:
    """Return for each shorter limit the largest share of rounds within it that all clients can afford, (S,)."""
    dearer_KS = np.maximum(shorter_KS - longer_K[:, None], 0.0)
    left_KS = np.broadcast_to((most_K - longer_K)[:, None], dearer_KS.shape)
    share_KS = np.divide(left_KS, dearer_KS, out=np.ones_like(dearer_KS), where=dearer_KS > left_KS)
    share_S: FloatArray = share_KS.min(axis=0)
    return share_S
