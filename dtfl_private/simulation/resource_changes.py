"""How often clients' resources change: what the server learns of it, online, from how its measurements differ."""

from dataclasses import dataclass

import numpy as np

from dtfl_private.protocol.contracts import FloatArray
from dtfl_private.simulation.costs.table import TierTable
from dtfl_private.simulation.estimates import NEVER, History, Observation

LARGE = 3.0
"""From this factor on a client has changed; noise alone reaches it hardly ever (log-normal, sd 0.2: once in 10,000)."""

PRIOR_CHANGES, PRIOR_MEASUREMENTS = 0.3, 50.0
"""Before anything is known: the environment of the DTFL paper (dtfl section 4), 30 % of the clients every 50 rounds."""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Counts over all rounds: measurements of clients measured before, and those that found a client changed."""

    changed: float = 0.0
    measured: float = 0.0

    def learn(self, factor_P: FloatArray) -> "Changes":
        """Return the counts after a round in which clients were so many times slower or faster than before."""
        return Changes(changed=self.changed + float((factor_P >= LARGE).sum()), measured=self.measured + len(factor_P))

    @property
    def rate(self) -> float:
        """Probability that a client's resources have changed much when it is measured again.

        Changes by less than `LARGE` are not in it, while strong noise (sd 0.5) is.
        """
        return (PRIOR_CHANGES + self.changed) / (PRIOR_MEASUREMENTS + self.measured)


def factors(history: History, seen: Observation, table: TierTable) -> FloatArray:
    """Return how many times slower or faster each known client is than when last measured, by its least equal resource.

    Computing is compared per MAC, so that tiers do not matter. Clients without a measurement are left out.
    """
    known_P = history.tier_K[seen.clients_P] != NEVER
    clients, column = seen.clients_P[known_P], seen.column_P[known_P]
    macs_M = table.column("client_train_macs")
    before = np.searchsorted(table.tiers_M, history.tier_K[clients])
    ratios = [
        seen.seconds_P[known_P] / macs_M[column] / (history.last_s_K[clients] / macs_M[before]),
        seen.up_bytes_s_P[known_P] / history.up_bytes_s_K[clients],
        seen.down_bytes_s_P[known_P] / history.down_bytes_s_K[clients],
    ]
    factor_P: FloatArray = np.maximum.reduce([np.maximum(ratio, 1 / ratio) for ratio in ratios])
    return factor_P
