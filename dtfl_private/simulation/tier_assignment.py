"""Which tier each participant of a round gets: what the scheduler is told, and what it answers."""

from dataclasses import dataclass

import numpy as np

from dtfl_private.errors import RunError
from dtfl_private.protocol.contracts import BoolArray, IntArray, RoundEstimates, Scheduler, TierChoice
from dtfl_private.randomness import stream
from dtfl_private.simulation.client_workloads import ClientWorkloads, images_in
from dtfl_private.simulation.estimates import NEVER, History, estimate_parts
from dtfl_private.simulation.schedule_state import ScheduleSettings, ScheduleState
from dtfl_private.simulation.workload import Workload


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """The participants' tiers, and who of them got it from the scheduler by its times, (P,) arrays."""

    tiers_P: IntArray
    by_times_P: BoolArray


def assign_tiers(
    state: ScheduleState, settings: ScheduleSettings, workloads: ClientWorkloads, round_number: int
) -> Assignment:
    """Return every participant's tier: the scheduler's, or the policy's for a client that was never measured.

    Raises:
        RunError: if the scheduler, which may be the user's own, names other tiers or too few.
    """
    rng = stream(settings.seed, "scheduler", round_number)
    clients_P, tiers_M = workloads.clients_P, settings.table.tiers_M
    if not settings.scheduler.uses_times:
        unestimated = np.zeros((len(clients_P), len(tiers_M)))
        tiers_P = _ask(settings.scheduler, TierChoice(times_s_KM=unestimated, tiers_M=tiers_M), rng)
        return Assignment(tiers_P=tiers_P, by_times_P=np.zeros(len(clients_P), dtype=np.bool_))
    first = {"probe": 0, "shallowest": 0, "middle": len(tiers_M) // 2, "deepest": -1}[settings.first_tier]
    tiers_P = np.full(len(clients_P), tiers_M[first])
    known_P = state.history.tier_K[clients_P] != NEVER
    if settings.sees == "truth":
        known_P[:] = True
    if known_P.any():
        clients = clients_P[known_P]
        truth_is_seen = settings.sees == "truth"
        seconds = workloads.seconds if truth_is_seen else estimate_workload(state.history, settings, clients)
        tiers_P[known_P] = _ask(settings.scheduler, _tier_choice(state, settings, clients, seconds), rng)
    return Assignment(tiers_P=tiers_P, by_times_P=known_P)


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


def _tier_choice(state: ScheduleState, settings: ScheduleSettings, clients: IntArray, seconds: Workload) -> TierChoice:
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
    return TierChoice(times_s_KM=seconds.times_s, tiers_M=settings.table.tiers_M, estimates=estimates)


def _ask(scheduler: Scheduler, choice: TierChoice, rng: np.random.Generator) -> IntArray:
    """Return the scheduler's tiers, checked."""
    tiers = np.asarray(scheduler.assign(choice, rng))
    if tiers.shape != choice.times_s_KM.shape[:1] or not np.isin(tiers, choice.tiers_M).all():
        raise RunError(
            f"scheduler {type(scheduler).__name__} must name one of the tiers {choice.tiers_M.tolist()} "
            f"for each of the {len(choice.times_s_KM)} participants"
        )
    return tiers
