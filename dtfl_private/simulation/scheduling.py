"""A round on paper: who takes part, in which tier, and how many simulated seconds it lasts. Nothing is trained here.

The trainer runs it before each round, the ``plan`` command runs nothing else. The scheduler sees the server's
measurements only; the true resources decide how long the round then really lasts.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from dtfl_private.errors import RunError
from dtfl_private.protocol.contracts import BoolArray, FloatArray, IntArray, Outlook, Scheduler, TierChoice
from dtfl_private.randomness import stream
from dtfl_private.simulation.changes import factors
from dtfl_private.simulation.clients.conditions import (
    Conditions,
    EnvironmentState,
    advance,
    conditions,
    slowness,
)
from dtfl_private.simulation.estimates import (
    NEVER,
    History,
    Observation,
    estimate_parts,
    note_first_tiers,
    observe,
    transfer_s,
)
from dtfl_private.simulation.progress import mean_depth
from dtfl_private.simulation.round_plan import RoundPlan
from dtfl_private.simulation.schedule import ScheduleSettings, ScheduleState
from dtfl_private.simulation.schedulers.others import Oracle
from dtfl_private.simulation.timing import Course, RoundWork
from dtfl_private.simulation.workload import Workload


def schedule_round(
    state: ScheduleState, settings: ScheduleSettings, round_number: int, retired: Collection[int] = ()
) -> tuple[ScheduleState, RoundPlan]:
    """Return the state after round ``round_number`` and the round's plan; ``retired`` clients take no part."""
    environment = advance(state.environment, settings.environment, round_number)
    truth = conditions(environment, settings.environment, round_number)
    clients_P = _sample(environment, state.history, settings, round_number, retired)

    probed_P, history = _probe(state.history, truth, settings, clients_P)
    load = _load(settings, truth, clients_P, round_number)
    chosen = _assign(replace(state, history=history), settings, clients_P, load, round_number)
    plan = _play(settings, truth, load, chosen.tiers_P, probed_P)

    history = note_first_tiers(history, clients_P[chosen.by_times_P], chosen.tiers_P[chosen.by_times_P])
    measured = _measured(plan, truth, settings)
    changes = state.changes
    if settings.scheduler.uses_times:  # against what was known before this round: its probe says nothing of changes
        changes = changes.learn(factors(state.history, measured, settings.table))
    history = observe(history, measured, settings.table.tiers_M, settings.newest)
    clock = state.clock.advance(plan.round_time_s)
    return replace(state, environment=environment, history=history, clock=clock, changes=changes), plan


def learn_progress(
    state: ScheduleState, plan: RoundPlan, settings: ScheduleSettings, loss: float | None
) -> ScheduleState:
    """Return the state with what a trained round tells of its tiers' progress; ``loss`` is its training loss."""
    stayed = ~plan.dropped_P
    column = np.searchsorted(settings.table.tiers_M, plan.tiers_P[stayed])
    depth = mean_depth(column, plan.images_P[stayed].astype(np.float64), len(settings.table.rows))
    return replace(state, progress=state.progress.learn(depth, loss))


def _probe(
    history: History, truth: Conditions, settings: ScheduleSettings, clients_P: IntArray
) -> tuple[BoolArray, History]:
    """Measure participants that were never observed by one standard batch, if the policy says so."""
    unknown_P = history.tier_K[clients_P] == NEVER
    needed = settings.scheduler.uses_times and settings.sees != "truth"
    if settings.first_tier != "probe" or not needed or not unknown_P.any():
        return np.zeros(len(clients_P), dtype=np.bool_), history
    clients = clients_P[unknown_P]
    column = np.zeros(len(clients), dtype=np.int64)
    seen = _observation(truth, settings, clients, column)
    return unknown_P, observe(history, seen, settings.table.tiers_M, settings.newest)


@dataclass(frozen=True, kw_only=True)
class _Load:
    """What P participants have to do in each tier under the round's true resources; dropouts are in it."""

    round: int
    clients_P: IntArray
    batches_P: IntArray
    sent_batches_P: IntArray
    images_P: IntArray
    sent_P: IntArray
    dropped_P: BoolArray
    parts: Workload
    measuring: "_Measuring"


@dataclass(frozen=True, kw_only=True)
class _Measuring:
    """What it takes P participants in each tier to measure batch norm's statistics of the new weights, if they do."""

    images_PM: IntArray
    compute_s_PM: FloatArray
    transfer_s_PM: FloatArray


def _load(settings: ScheduleSettings, truth: Conditions, clients_P: IntArray, round_number: int) -> _Load:
    table = settings.table
    share_P, dropped_P = _dropouts(settings, len(clients_P), round_number)
    records_P = settings.images_K[clients_P]
    per_epoch_P = -(-records_P // settings.batch_size)
    batches_P, sent_batches_P = settings.timing.batches(share_P, per_epoch_P, settings.local_epochs)
    images_P = _images_in(batches_P, records_P, settings.batch_size)
    sent_P = _images_in(sent_batches_P, records_P, settings.batch_size)

    speed_PM = _macs_per_s(settings, truth, clients_P)
    training_PM = images_P[:, None] * table.column("client_train_macs")
    releasing_PM = sent_P[:, None] * table.column("release_macs")
    transfer_s_PM = transfer_s(
        table,
        sent_P.astype(np.float64),
        truth.up_bytes_s_K[clients_P],
        truth.down_bytes_s_K[clients_P],
        truth.latency_s_K[clients_P],
        completes=~dropped_P,
        round_trips=settings.timing.round_trips(batches_P),
    )
    return _Load(
        round=round_number,
        clients_P=clients_P,
        batches_P=batches_P,
        sent_batches_P=sent_batches_P,
        images_P=images_P,
        sent_P=sent_P,
        dropped_P=dropped_P,
        parts=Workload(
            training_s=training_PM / speed_PM,
            releasing_s=releasing_PM / speed_PM,
            service_s=sent_P[:, None] * settings.server_seconds_M,
            transfer_s=transfer_s_PM,
            trains_first=settings.timing.trains_first,
        ),
        measuring=_measuring(settings, truth, clients_P, dropped_P),
    )


def _measuring(settings: ScheduleSettings, truth: Conditions, clients_P: IntArray, dropped_P: BoolArray) -> _Measuring:
    """Return the work of the second pass: weights down, a forward pass over each image once, statistics up."""
    table = settings.table
    sent_M = table.column("statistics_bytes")
    if not sent_M.any():
        nothing_PM = np.zeros((len(clients_P), len(sent_M)))
        return _Measuring(images_PM=nothing_PM.astype(np.int64), compute_s_PM=nothing_PM, transfer_s_PM=nothing_PM)
    images_PM = np.where(dropped_P[:, None] | (sent_M == 0), 0, settings.images_K[clients_P][:, None])
    down_s_PM = table.column("weight_bytes") / truth.down_bytes_s_K[clients_P][:, None]
    up_s_PM = sent_M / truth.up_bytes_s_K[clients_P][:, None]
    transfer_s_PM = 2 * truth.latency_s_K[clients_P][:, None] + down_s_PM + up_s_PM
    return _Measuring(
        images_PM=images_PM,
        compute_s_PM=images_PM * table.column("statistics_macs") / _macs_per_s(settings, truth, clients_P),
        transfer_s_PM=np.where(images_PM > 0, transfer_s_PM, 0.0),
    )


@dataclass(frozen=True, kw_only=True)
class _Assignment:
    """The participants' tiers, and who of them got it from the scheduler by its times."""

    tiers_P: IntArray
    by_times_P: BoolArray


def _assign(
    state: ScheduleState, settings: ScheduleSettings, clients_P: IntArray, load: _Load, round_number: int
) -> _Assignment:
    rng = stream(settings.seed, "scheduler", round_number)
    tiers_M = settings.table.tiers_M
    if not settings.scheduler.uses_times:
        unestimated = np.zeros((len(clients_P), len(tiers_M)))
        tiers_P = _chosen(settings.scheduler, TierChoice(times_s_KM=unestimated, tiers_M=tiers_M), rng)
        return _Assignment(tiers_P=tiers_P, by_times_P=np.zeros(len(clients_P), dtype=np.bool_))
    first = {"probe": 0, "shallowest": 0, "middle": len(tiers_M) // 2, "deepest": -1}[settings.first_tier]
    tiers_P = np.full(len(clients_P), tiers_M[first])
    known_P = state.history.tier_K[clients_P] != NEVER
    if settings.sees == "truth":
        known_P[:] = True
    if known_P.any():
        clients = clients_P[known_P]
        images = settings.images_K[clients].astype(np.float64) * settings.local_epochs
        parts = load.parts if settings.sees == "truth" else _expected(state.history, settings, clients)
        choice = _choice(state, settings, clients, images, parts)
        tiers_P[known_P] = _chosen(settings.scheduler, choice, rng)
    return _Assignment(tiers_P=tiers_P, by_times_P=known_P)


def _expected(history: History, settings: ScheduleSettings, clients: IntArray) -> Workload:
    """Return what the server expects of clients that it has measured, in every tier, if none of them vanishes."""
    records = settings.images_K[clients].astype(np.float64)
    trains_first = settings.timing.trains_first
    return estimate_parts(
        history,
        clients,
        settings.table,
        records * settings.local_epochs,
        settings.server_seconds_M,
        sent_P=records if trains_first else records * settings.local_epochs,
        trains_first=trains_first,
    )


def _choice(
    state: ScheduleState, settings: ScheduleSettings, clients: IntArray, images: FloatArray, parts: Workload
) -> TierChoice:
    depth_spread, depth_gain = state.progress.evidence()
    outlook = Outlook(
        arrival_s_KM=parts.arrival_s,
        streaming_s_KM=parts.streaming_s,
        service_s_KM=parts.service_s,
        server_workers=settings.server.workers,
        images_K=images,
        first_tiers_K=state.history.first_tier_K[clients],
        depth_spread=depth_spread,
        depth_gain=depth_gain,
        change_rate=state.changes.rate,
    )
    return TierChoice(times_s_KM=parts.times_s, tiers_M=settings.table.tiers_M, outlook=outlook)


def _chosen(scheduler: Scheduler, choice: TierChoice, rng: np.random.Generator) -> IntArray:
    """Return the scheduler's tiers, checked: it may be the user's own."""
    tiers = np.asarray(scheduler.assign(choice, rng))
    if tiers.shape != choice.times_s_KM.shape[:1] or not np.isin(tiers, choice.tiers_M).all():
        raise RunError(
            f"scheduler {type(scheduler).__name__} must name one of the tiers {choice.tiers_M.tolist()} "
            f"for each of the {len(choice.times_s_KM)} participants"
        )
    return tiers


def _play(
    settings: ScheduleSettings, truth: Conditions, load: _Load, tiers_P: IntArray, probed_P: BoolArray
) -> RoundPlan:
    """Let the round happen under the true resources."""
    speed_P = _macs_per_s(settings, truth, load.clients_P)[:, 0]
    shallowest_macs = settings.table.column("client_train_macs")[0]
    probe_s_P = np.where(probed_P, settings.batch_size * shallowest_macs / speed_P, 0.0)
    work = _work(settings, load, tiers_P, probe_s_P)
    course, round_time_s = _course(settings, load, tiers_P, work)
    measuring, places = load.measuring, _places(settings, tiers_P)
    return RoundPlan(
        round=load.round,
        clients_P=load.clients_P,
        tiers_P=tiers_P,
        batches_P=load.batches_P,
        sent_batches_P=load.sent_batches_P,
        images_P=load.images_P,
        sent_P=load.sent_P,
        dropped_P=load.dropped_P,
        measured_P=measuring.images_PM[places],
        compute_s_P=work.load.computing_s + measuring.compute_s_PM[places],
        transfer_s_P=work.load.transfer_s + measuring.transfer_s_PM[places],
        client_time_s_P=course.client_time_s_P,
        server_wait_s=course.server_wait_s,
        round_time_s=round_time_s,
        order=course.order,
        oracle_time_s=_oracle_time_s(settings, load),
    )


def _macs_per_s(settings: ScheduleSettings, truth: Conditions, clients: IntArray) -> FloatArray:
    """Return the clients' true speed in every tier, (P, M): what the MACs of the tier's profile are divided by."""
    slowness_KM = slowness(settings.environment, settings.table.module_macs, settings.table.tiers_M)
    return (truth.cpus_K[clients] * settings.cpu_macs_per_s)[:, None] / slowness_KM[clients]


def _work(settings: ScheduleSettings, load: _Load, tiers_P: IntArray, probe_s_P: FloatArray | float) -> RoundWork:
    """Return what the participants have to do in these tiers; a probe counts as training."""
    own = load.parts.in_tiers(np.searchsorted(settings.table.tiers_M, tiers_P))
    return RoundWork(load=replace(own, training_s=probe_s_P + own.training_s), batches_P=load.batches_P)


def _places(settings: ScheduleSettings, tiers_P: IntArray) -> tuple[IntArray, IntArray]:
    """Return each participant's row and column in arrays (P, M)."""
    return np.arange(len(tiers_P)), np.searchsorted(settings.table.tiers_M, tiers_P)


def _course(settings: ScheduleSettings, load: _Load, tiers_P: IntArray, work: RoundWork) -> tuple[Course, float]:
    """Return how the round goes and how long it lasts.

    A second pass, for batch norm's statistics of the new weights, begins when everybody is done: that wait is in the
    round's time, but not in a client's own.
    """
    places, measuring = _places(settings, tiers_P), load.measuring
    measuring_s_P = measuring.compute_s_PM[places] + measuring.transfer_s_PM[places]
    course = settings.timing.play(work, settings.server)
    round_time_s = float(course.client_time_s_P.max(initial=0.0) + measuring_s_P.max(initial=0.0))
    return replace(course, client_time_s_P=course.client_time_s_P + measuring_s_P), round_time_s


def _oracle_time_s(settings: ScheduleSettings, load: _Load) -> float | None:
    """Return how long the round lasts with the oracle's tiers, who needs no probe; None if there is one tier only."""
    tiers_M = settings.table.tiers_M
    if len(tiers_M) == 1 or not len(load.clients_P):
        return None
    choice = TierChoice(times_s_KM=load.parts.times_s, tiers_M=tiers_M)
    tiers_P = Oracle().assign(choice, np.random.default_rng(0))  # it draws nothing
    return _course(settings, load, tiers_P, _work(settings, load, tiers_P, 0.0))[1]


def _dropouts(settings: ScheduleSettings, count: int, round_number: int) -> tuple[FloatArray, BoolArray]:
    """Return the share of its work that each participant does, and whether it then vanishes."""
    if settings.environment.dropout == 0:
        return np.ones(count), np.zeros(count, dtype=np.bool_)
    rng = stream(settings.seed, "dropout", round_number)
    dropped_P = rng.random(count) < settings.environment.dropout
    return np.where(dropped_P, rng.random(count), 1.0), dropped_P


def _images_in(batches: IntArray, images: IntArray, batch_size: int) -> IntArray:
    """Return the images in the first ``batches`` batches; the last batch of each epoch may be smaller."""
    per_epoch = -(-images // batch_size)
    return batches // per_epoch * images + batches % per_epoch * batch_size


def _measured(plan: RoundPlan, truth: Conditions, settings: ScheduleSettings) -> Observation:
    """Return what the server has measured: nothing of a client that vanished."""
    stayed = ~plan.dropped_P
    column = np.searchsorted(settings.table.tiers_M, plan.tiers_P[stayed])
    return _observation(truth, settings, plan.clients_P[stayed], column)


def _observation(truth: Conditions, settings: ScheduleSettings, clients: IntArray, column: IntArray) -> Observation:
    macs = settings.table.column("client_train_macs")[column]
    speed_P = _macs_per_s(settings, truth, clients)[np.arange(len(column)), column]
    return Observation(
        clients_P=clients,
        column_P=column,
        seconds_P=macs / speed_P,
        up_bytes_s_P=truth.up_bytes_s_K[clients],
        down_bytes_s_P=truth.down_bytes_s_K[clients],
        latency_s_P=truth.latency_s_K[clients],
    )


def _sample(
    environment: EnvironmentState,
    history: History,
    settings: ScheduleSettings,
    round_number: int,
    retired: Collection[int],
) -> IntArray:
    """Return the participants; none if every client that is present has retired."""
    willing_K = environment.present_K.copy()
    willing_K[list(retired)] = False
    present = np.flatnonzero(willing_K)
    if not len(present):
        return present
    count = max(1, round(settings.fraction * len(present)))
    return np.sort(settings.selection.choose(present, count, history, settings, round_number))
