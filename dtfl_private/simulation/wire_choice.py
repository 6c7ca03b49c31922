"""In which format each participant sends its smashed data, where the server names one: as fine as the time allows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dtfl_private.protocol.contracts import FloatArray, IntArray
from dtfl_private.protocol.messages import Wire
from dtfl_private.simulation.client_workloads import ClientWorkloads
from dtfl_private.simulation.estimates import NEVER, History
from dtfl_private.simulation.round_plan import NO_BYTES
from dtfl_private.simulation.schedule_state import ScheduleSettings, WireOption
from dtfl_private.simulation.tier_assignment import estimate_workload


@dataclass(frozen=True, kw_only=True)
class ChosenWires:
    """The formats of P participants, by name, and the bytes of an image's smashed data, (P,)."""

    names: Sequence[Wire]
    image_bytes_P: FloatArray


NOT_NAMED = ChosenWires(names=(), image_bytes_P=NO_BYTES)


def choose_wires(
    history: History, settings: ScheduleSettings, workloads: ClientWorkloads, tiers_P: IntArray
) -> ChosenWires:
    """Return the participants' formats once their tiers are given; none where the run has one format for all.

    Schedulers name tiers by the times in the coarsest format. The round then lasts, but for the server's queue, as long
    as its slowest participant is expected to take; all others take the finest format with which they are not later. A
    client that was never measured takes the coarsest.
    """
    if not settings.wires:
        return NOT_NAMED
    clients_P, column_P = workloads.clients_P, np.searchsorted(settings.table.tiers_M, tiers_P)
    known_P = history.tier_K[clients_P] != NEVER
    times_s_P, slowness_P = (np.full(len(clients_P), np.nan) for _ in range(2))
    if known_P.any():
        clients = clients_P[known_P]
        expected = estimate_workload(history, settings, clients)
        times_s_P[known_P] = expected.in_tiers(column_P[known_P]).times_s
        slowness_P[known_P] = workloads.sent_P[known_P] / history.up_bytes_s_K[clients]
    limit_s = float(np.nanmax(times_s_P)) if known_P.any() else 0.0
    return finest_within(settings.wires, column_P, slowness_P, times_s_P, limit_s)


def finest_within(
    options: Sequence[WireOption],
    column_P: IntArray,
    seconds_per_byte_P: FloatArray,
    times_s_P: FloatArray,
    limit_s: float,
) -> ChosenWires:
    """Return each participant's finest format with which it is expected to be done within a limit, or the coarsest.

    Args:
        options: from the coarsest to the finest.
        column_P: column of each participant's tier.
        seconds_per_byte_P: what a byte more for each image's smashed data adds to its round; NaN where that is unknown.
        times_s_P: its round in the coarsest format.
        limit_s: of these times.
    """
    bytes_WP = np.array([option.image_bytes_M[column_P] for option in options])
    later_s_WP = (bytes_WP - bytes_WP[0]) * seconds_per_byte_P
    fits_WP = times_s_P + later_s_WP <= limit_s  # what is unknown does not fit
    fits_WP[0] = True
    finest_P = len(options) - 1 - fits_WP[::-1].argmax(axis=0)
    return ChosenWires(
        names=[options[place].name for place in finest_P.tolist()],
        image_bytes_P=bytes_WP[finest_P, np.arange(len(column_P))],
    )
