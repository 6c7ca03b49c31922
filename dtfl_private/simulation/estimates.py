"""What the server knows of its clients' speed, and the round time it estimates from that for every tier.

All arrays run over clients: one round of a million clients is a handful of NumPy operations.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dtfl_private.protocol.contracts import FloatArray, IntArray
from dtfl_private.simulation.costs.table import TierTable
from dtfl_private.simulation.transfer_time import transfer_s
from dtfl_private.simulation.workload import Workload

NEVER = 0
"""Value of ``History.tier_K`` for a client that was never observed."""


@dataclass(frozen=True, kw_only=True)
class History:
    """The server's measurements of all K clients.

    seconds_KM: moving average of the computing seconds per image of client k in tier m; NaN where never observed.
    tier_K: the tier last observed, or `NEVER`.
    last_s_K: computing seconds per image in that tier as last measured, without the average; NaN before.
    up_bytes_s_K, down_bytes_s_K, latency_s_K: the link as last measured; NaN before.
    first_tier_K: the tier that the scheduler gave the client first, from its measurements; `NEVER` before.
    """

    seconds_KM: FloatArray
    tier_K: IntArray
    last_s_K: FloatArray
    up_bytes_s_K: FloatArray
    down_bytes_s_K: FloatArray
    latency_s_K: FloatArray
    first_tier_K: IntArray

    @classmethod
    def empty(cls, clients: int, tiers: int) -> "History":
        """Return the history before any measurement."""
        unknown_K = np.full(clients, np.nan)
        return cls(
            seconds_KM=np.full((clients, tiers), np.nan),
            tier_K=np.full(clients, NEVER, dtype=np.int64),
            last_s_K=unknown_K,
            up_bytes_s_K=unknown_K,
            down_bytes_s_K=unknown_K,
            latency_s_K=unknown_K,
            first_tier_K=np.full(clients, NEVER, dtype=np.int64),
        )


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What was measured of P clients in a round.

    clients_P: their ids. column_P: column of their tier in the table. seconds_P: computing seconds per image, the
    transfer times already subtracted.
    """

    clients_P: IntArray
    column_P: IntArray
    seconds_P: FloatArray
    up_bytes_s_P: FloatArray
    down_bytes_s_P: FloatArray
    latency_s_P: FloatArray

    @classmethod
    def of_nobody(cls) -> "Observation":
        """Return what was measured where nobody was."""
        nobody, nothing = np.empty(0, dtype=np.int64), np.empty(0)
        return cls(
            clients_P=nobody,
            column_P=nobody,
            seconds_P=nothing,
            up_bytes_s_P=nothing,
            down_bytes_s_P=nothing,
            latency_s_P=nothing,
        )


def observe(history: History, seen: Observation, tiers_M: IntArray, beta: float) -> History:
    """Return the history with one round's measurements.

    A new sample enters the moving average of its (client, tier) with weight ``beta`` (dtfl section 3: the
    published span of 2 is beta = 2/3); the first sample is taken as it is.
    """
    seconds_KM = history.seconds_KM.copy()
    old_P = seconds_KM[seen.clients_P, seen.column_P]
    smoothed_P = np.where(np.isnan(old_P), seen.seconds_P, beta * seen.seconds_P + (1 - beta) * old_P)
    seconds_KM[seen.clients_P, seen.column_P] = smoothed_P
    return replace(
        history,
        seconds_KM=seconds_KM,
        tier_K=_with(history.tier_K, seen.clients_P, tiers_M[seen.column_P]),
        last_s_K=_with(history.last_s_K, seen.clients_P, seen.seconds_P),
        up_bytes_s_K=_with(history.up_bytes_s_K, seen.clients_P, seen.up_bytes_s_P),
        down_bytes_s_K=_with(history.down_bytes_s_K, seen.clients_P, seen.down_bytes_s_P),
        latency_s_K=_with(history.latency_s_K, seen.clients_P, seen.latency_s_P),
    )


def note_first_tiers(history: History, clients_P: IntArray, tiers_P: IntArray) -> History:
    """Return the history with the tiers that a scheduler gave; those of clients that already had one are not noted."""
    old_P = history.first_tier_K[clients_P]
    first_P = np.where(old_P == NEVER, tiers_P, old_P)
    return replace(history, first_tier_K=_with(history.first_tier_K, clients_P, first_P))


def _with(array: Any, index: IntArray, values: Any) -> Any:
    changed = array.copy()
    changed[index] = values
    return changed


def estimate(
    history: History,
    clients_P: IntArray,
    table: TierTable,
    images_P: FloatArray,
    server_seconds_M: FloatArray,
) -> FloatArray:
    """Return the estimated T_k(m) = max(T_c, T_s) + T_com of observed clients in every tier, (P, M) seconds.

    The arguments are those of `estimate_parts`.
    """
    return estimate_parts(history, clients_P, table, images_P, server_seconds_M).times_s


def estimate_parts(
    history: History,
    clients_P: IntArray,
    table: TierTable,
    images_P: FloatArray,
    server_seconds_M: FloatArray,
    *,
    sent_P: FloatArray | None = None,
    trains_first: bool = False,
) -> Workload:
    """Return what observed clients are estimated to need in every tier.

    dtfl section 3: the moving average of the client's present tier m is carried over to tier m' by the profile's
    ratio Tcp(m')/Tcp(m), here the ratio of training MACs.

    Args:
        history: measurements; every client of ``clients_P`` must have been observed.
        clients_P: the clients to estimate.
        table: cost per tier.
        images_P: images each client trains on in a round, over all its epochs.
        server_seconds_M: the server's seconds per image for each tier's server half.
        sent_P: images each client sends, if not all of these.
        trains_first: whether the clients train before they send.
    """
    sent_P = images_P if sent_P is None else sent_P
    column_P = np.searchsorted(table.tiers_M, history.tier_K[clients_P])
    client_macs_M = table.column("client_train_macs")
    seconds_per_mac_P = history.seconds_KM[clients_P, column_P] / client_macs_M[column_P]
    return Workload(
        training_s=(seconds_per_mac_P * images_P)[:, None] * client_macs_M,
        releasing_s=(seconds_per_mac_P * sent_P)[:, None] * table.column("release_macs"),
        service_s=sent_P[:, None] * server_seconds_M,
        transfer_s=transfer_s(
            table,
            sent_P,
            history.up_bytes_s_K[clients_P],
            history.down_bytes_s_K[clients_P],
            history.latency_s_K[clients_P],
        ),
        trains_first=trains_first,
    )
