"""Which tier each participant of a round gets: what the scheduler is told, and what it answers."""

from dataclasses import dataclass

import numpy as np

from dtfl_private.errors import RunError
from dtfl_private.protocol.contracts import BoolArray, IntArray, RoundEstimates, Scheduler, TierChoice
from dtfl_private.randomness import stream
from dtfl_private.simulation.client_workloads import ClientWorkloads, images_in
from dtfl_private.simulation.estimates import NEVER, History, estimate_parts
from dtfl_private.simulation.exposure import open_tiers
from dtfl_private.simulation.schedule_state import ScheduleSettings, ScheduleState
from dtfl_private.simulation.workload import Workload


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """The participants' tiers, who of them got it from the scheduler by its times, and which tiers were open to them.

    ``open_PM`` is as `TierChoice.open_KM`; the others are (P,) arrays.
    """

    tiers_P: IntArray
    by_times_P: BoolArray
    open_PM: BoolArray | None = None


def assign_tiers(
    state: ScheduleState,
    settings: ScheduleSettings,
    workloads: ClientWorkloads,
    round_number: int,
    fits_PM: BoolArray | None = None,
) -> Assignment:
    """Return every participant's tier: the scheduler's, or the policy's for a client that was never measured.

    What an exposure budget closes to a client, or its memory does not hold (``fits_PM``), it does not get, whoever
    names it.

    Raises:
        RunError: if the scheduler, which may be the user's own, names other tiers or too few.
    """
    rng = stream(settings.seed, "scheduler", round_number)
    clients_P, tiers_M = workloads.clients_P, settings.table.tiers_M
    open_PM = open_tiers(state.exposure_K, settings, clients_P, round_number, fits_PM=fits_PM)
    if not settings.scheduler.uses_times:
        unestimated = np.zeros((len(clients_P), len(tiers_M)))
        choice = TierChoice(times_s_KM=unestimated, tiers_M=tiers_M, open_KM=open_PM)
        tiers_P = _nearest_open(_ask(settings.scheduler, choice, rng), tiers_M, open_PM)
        return Assignment(tiers_P=tiers_P, by_times_P=np.zeros(len(clients_P), dtype=np.bool_), open_PM=open_PM)
    first = {"probe": 0, "shallowest": 0, "middle": len(tiers_M) // 2, "deepest": -1}[settings.first_tier]
    tiers_P = np.full(len(clients_P), tiers_M[first])
    known_P = state.history.tier_K[clients_P] != NEVER
    if settings.sees == "truth":
        known_P[:] = True
    if known_P.any():
        clients = clients_P[known_P]
        truth_is_seen = settings.sees == "truth"
        seconds = workloads.seconds if truth_is_seen else estimate_workload(state.history, settings, clients)
        fits_KM = None if fits_PM is None else fits_PM[known_P]
        open_KM = open_tiers(state.exposure_K, settings, clients, round_number, seconds.times_s, fits_KM)
        tiers_P[known_P] = _ask(settings.scheduler, _tier_choice(state, settings, clients, seconds, open_KM), rng)
        if open_PM is not None and open_KM is not None:
            open_PM = open_PM.copy()
            open_PM[known_P] = open_KM
    return Assignment(tiers_P=_nearest_open(tiers_P, tiers_M, open_PM), by_times_P=known_P, open_PM=open_PM)


def _nearest_open(tiers_P: IntArray, tiers_M: IntArray, open_PM: BoolArray | None) -> IntArray:
    """Return the same tiers where they are open; elsewhere the next deeper open one, or else the next shallower one."""
    if open_PM is None:
        return tiers_P
    is_deep_enough_PM = open_PM & (tiers_M >= tiers_P[:, None])
    deeper_P = is_deep_enough_PM.argmax(axis=1)
    deepest_P = len(tiers_M) - 1 - open_PM[:, ::-1].argmax(axis=1)
    nearest_P: IntArray = tiers_M[np.where(is_deep_enough_PM.any(axis=1), deeper_P, deepest_P)]
    return nearest_P


def estimate_workload(history: History, settings: ScheduleSettings, clients: IntArray) -> Workload:
    """Return what the server expects of clients that it has measured, in every tier, if none of them drops out."""
    records, trains_first = settings.images_K[clients], settings.timing.trains_first
    batches = -(-records // settings.batch_size) * (1 if trains_first else settings.local_epochs)
    sent = images_in(-(-batches // settings.send_every), records, settings.batch_size, settings.send_every)
    return estimate_parts(
        history,
        clients,
        settings.table,
        (records * settings.local_epochs).astype(np.float64),
        settings.server_seconds_M,
        sent_P=sent.astype(np.float64),
        trains_first=trains_first,
    )


def _tier_choice(
    state: ScheduleState,
    settings: ScheduleSettings,
    clients: IntArray,
    seconds: Workload,
    open_KM: BoolArray | None,
) -> TierChoice:
    """Return what the scheduler is told of these clients, whose work in every tier is ``seconds``."""
    depth_spread, depth_gain = state.progress.evidence()
    estimates = RoundEstimates(
        arrival_s_KM=seconds.arrival_s,
        streaming_s_KM=seconds.streaming_s,
        service_s_KM=seconds.service_s,
        server_workers=settings.timing.queues(settings.server),
        images_K=settings.images_K[clients].astype(np.float64) * settings.local_epochs,
        first_tiers_K=state.history.first_tier_K[clients],
        depth_spread=depth_spread,
        depth_gain=depth_gain,
        change_rate=state.changes.rate,
    )
    return TierChoice(times_s_KM=seconds.times_s, tiers_M=settings.table.tiers_M, estimates=estimates, open_KM=open_KM)


def _ask(scheduler: Scheduler, choice: TierChoice, rng: np.random.Generator) -> IntArray:
    """Return the scheduler's tiers, checked."""
    tiers = np.asarray(scheduler.assign(choice, rng))
    if tiers.shape != choice.times_s_KM.shape[:1] or not np.isin(tiers, choice.tiers_M).all():
        raise RunError(
            f"scheduler {type(scheduler).__name__} must name one of the tiers {choice.tiers_M.tolist()} "
            f"for each of the {len(choice.times_s_KM)} participants"
        )
    return tiers
