"""How often clients' resources change: what the server learns of it, on line, from clients that have become slower."""

from dataclasses import dataclass

import numpy as np

from dtfl_private.contracts import FloatArray
from dtfl_private.tiers.estimates import NEVER, History, Observation
from dtfl_private.tiers.table import TierTable

SLOWER = 3.0
"""From this factor on a client has changed; noise alone reaches it hardly ever (log-normal, sd 0.2: once in 20,000)."""

PRIOR_CHANGES, PRIOR_MEASUREMENTS = 1.0, 50.0
"""Before anything is known: one change of a client in fifty of its rounds."""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Counts over all rounds: measurements of clients known before, and those of clients that had become slower."""

    slower: float = 0.0
    measured: float = 0.0

    def learn(self, factor_P: FloatArray) -> "Changes":
        """Return the counts after a round in which known clients took so many times as long as estimated."""
        return Changes(
            slower=self.slower + float((factor_P >= SLOWER).sum()),
            measured=self.measured + len(factor_P),
        )

    @property
    def rate(self) -> float:
        """Probability that a client's resources change in a round.

        Changes for the worse stand for as many for the better: these would be counted several times, as a moving
        average of seconds forgets slow rounds slowly.
        """
        return min(1.0, (PRIOR_CHANGES + 2 * self.slower) / (PRIOR_MEASUREMENTS + self.measured))


def slowdown(history: History, seen: Observation, table: TierTable) -> FloatArray:
    """Return how many times slower than before each known client of an observation is, by its worst resource."""
    known_P = history.tier_K[seen.clients_P] != NEVER
    clients, column = seen.clients_P[known_P], seen.column_P[known_P]
    macs_M = table.column("client_train_macs")
    before = np.searchsorted(table.tiers_M, history.tier_K[clients])
    old_s_per_mac = history.seconds_KM[clients, before] / macs_M[before]
    factor_P: FloatArray = np.maximum.reduce(
        [
            seen.seconds_P[known_P] / macs_M[column] / old_s_per_mac,
            history.up_bytes_s_K[clients] / seen.up_bytes_s_P[known_P],
            history.down_bytes_s_K[clients] / seen.down_bytes_s_P[known_P],
        ]
    )
    return factor_P
