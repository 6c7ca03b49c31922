"""What the server measures of its clients: after a round, and by a probe before their first."""

import numpy as np

from dtfl_private.protocol.contracts import BoolArray, IntArray
from dtfl_private.simulation.client_workloads import macs_per_s
from dtfl_private.simulation.clients.conditions import Conditions
from dtfl_private.simulation.estimates import NEVER, History, Observation, observe
from dtfl_private.simulation.round_plan import RoundPlan
from dtfl_private.simulation.schedule_state import ScheduleSettings


def probe_newcomers(
    history: History, truth: Conditions, settings: ScheduleSettings, clients_P: IntArray
) -> tuple[BoolArray, History]:
    """Measure participants that were never observed by one standard batch, if the policy says so.

    Returns:
        Who was probed, (P,), and the history with what the probes measured.
    """
    unknown_P = history.tier_K[clients_P] == NEVER
    needed = settings.scheduler.uses_times and settings.sees != "truth"
    if settings.first_tier != "probe" or not needed or not unknown_P.any():
        return np.zeros(len(clients_P), dtype=np.bool_), history
    clients = clients_P[unknown_P]
    column = probed_column(settings, truth, clients)
    seen = _observation(truth, settings, clients, column)
    return unknown_P, observe(history, seen, settings.table.tiers_M, settings.newest)


def probed_column(settings: ScheduleSettings, truth: Conditions, clients_P: IntArray) -> IntArray:
    """Return the column of the tier in which each client would be probed: the shallowest that its memory holds."""
    fits_PM = settings.fitting(truth.profile_K[clients_P])
    if fits_PM is None:
        return np.zeros(len(clients_P), dtype=np.int64)
    column_P: IntArray = fits_PM.argmax(axis=1)
    return column_P


def measure_round(plan: RoundPlan, truth: Conditions, settings: ScheduleSettings) -> Observation:
    """Return what the server has measured in the round: nothing of a client that dropped out."""
    stayed = ~plan.dropped_P
    column = np.searchsorted(settings.table.tiers_M, plan.tiers_P[stayed])
    return _observation(truth, settings, plan.clients_P[stayed], column)


def _observation(truth: Conditions, settings: ScheduleSettings, clients: IntArray, column: IntArray) -> Observation:
    macs_PM = settings.client_macs("client_train_macs", truth.profile_K[clients])
    macs = macs_PM[column] if macs_PM.ndim == 1 else macs_PM[np.arange(len(column)), column]
    speed_P = macs_per_s(settings, truth, clients)[np.arange(len(column)), column]
    return Observation(
        clients_P=clients,
        column_P=column,
        seconds_P=macs / speed_P,
        up_bytes_s_P=truth.up_bytes_s_K[clients],
        down_bytes_s_P=truth.down_bytes_s_K[clients],
        latency_s_P=truth.latency_s_K[clients],
    )
