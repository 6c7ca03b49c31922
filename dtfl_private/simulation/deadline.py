"""When clients stop training, where a round is not to wait for those that turn out slower than they were."""

import math

import numpy as np

from dtfl_private.protocol.contracts import IntArray
from dtfl_private.simulation.estimates import NEVER, History
from dtfl_private.simulation.schedule_state import ScheduleSettings
from dtfl_private.simulation.tier_assignment import estimate_workload


def deadline_s(history: History, settings: ScheduleSettings, clients_P: IntArray, tiers_P: IntArray) -> float:
    """Return after how many seconds of a round its clients stop; infinite where they are to do all their work.

    That is ``settings.deadline`` times what the slowest of them was expected to take in these tiers, the server's queue
    left out. A client that was never measured stops with the others; nobody does while none is measured.
    """
    known_P = history.tier_K[clients_P] != NEVER
    if settings.deadline is None or not known_P.any():
        return math.inf
    column_P = np.searchsorted(settings.table.tiers_M, tiers_P[known_P])
    expected = estimate_workload(history, settings, clients_P[known_P]).in_tiers(column_P)
    return settings.deadline * float(expected.times_s.max())
