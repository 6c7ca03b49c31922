"""How long a round lasts under the clients' true resources, once the tiers are given."""

import math
from dataclasses import replace

import numpy as np

from dtfl_private.protocol.contracts import BoolArray, FloatArray, IntArray, TierChoice
from dtfl_private.simulation.client_workloads import ClientWorkloads, macs_per_s, with_batches
from dtfl_private.simulation.clients.conditions import Conditions
from dtfl_private.simulation.measurements import probed_column
from dtfl_private.simulation.round_plan import NOBODY, RoundPlan
from dtfl_private.simulation.schedule_state import ScheduleSettings
from dtfl_private.simulation.schedulers.baseline_schedulers import Oracle
from dtfl_private.simulation.timing import NO_ORDER, RoundTimes, RoundWork
from dtfl_private.simulation.wire_choice import ChosenWires

ROUNDING = 1e-9
"""By what share a client that takes as long as expected may seem to take longer."""


def simulate_round(
    settings: ScheduleSettings,
    truth: Conditions,
    workloads: ClientWorkloads,
    tiers_P: IntArray,
    wires: ChosenWires,
    probed_P: BoolArray,
    round_number: int,
    deadline_s: float = math.inf,
    open_PM: BoolArray | None = None,
) -> RoundPlan:
    """Return the round as it goes in these tiers and formats; who is late at the deadline has trained on less.

    A client in ``probed_P`` has timed one standard batch before. ``open_PM``: see `TierChoice.open_KM`.
    """
    oracle_tiers_P, oracle_time_s = _oracle(settings, workloads, open_PM)
    all_batches_P = workloads.batches_P
    workloads = _until(deadline_s, settings, truth, workloads, tiers_P, wires)
    work = _work_in_tiers(settings, workloads, tiers_P, _probe_s(settings, truth, workloads.clients_P, probed_P))
    work = _in_formats(settings, truth, workloads, tiers_P, wires, work)
    times, round_time_s = _round_times(settings, workloads, tiers_P, work)
    statistics, cells = workloads.statistics, _cells(settings, tiers_P)
    return RoundPlan(
        round=round_number,
        clients_P=workloads.clients_P,
        tiers_P=tiers_P,
        batches_P=workloads.batches_P,
        sent_batches_P=workloads.sent_batches_P,
        images_P=workloads.images_P,
        sent_P=workloads.sent_P,
        dropped_P=workloads.dropped_P,
        measured_P=statistics.images_PM[cells],
        compute_s_P=work.seconds.computing_s + statistics.compute_s_PM[cells],
        transfer_s_P=work.seconds.transfer_s + statistics.transfer_s_PM[cells],
        client_time_s_P=times.client_time_s_P,
        server_wait_s=times.server_wait_s,
        round_time_s=round_time_s,
        order=times.order,
        replica_P=times.replica_P,
        wires=wires.names,
        image_bytes_P=wires.image_bytes_P,
        stopped_P=NOBODY if settings.deadline is None else workloads.batches_P < all_batches_P,
        oracle_time_s=oracle_time_s,
        oracle_tiers_P=oracle_tiers_P,
    )


def _until(
    deadline_s: float,
    settings: ScheduleSettings,
    truth: Conditions,
    workloads: ClientWorkloads,
    tiers_P: IntArray,
    wires: ChosenWires,
) -> ClientWorkloads:
    """Return the work of clients that stop in time to be done at the deadline, but for the server's queue.

    Each trains on one batch at least. A client's time is that of its transfers of weights, and the rest goes with its
    images.
    """

    def times_s_P(played: ClientWorkloads) -> FloatArray:
        work = _work_in_tiers(settings, played, tiers_P, 0.0)
        return _in_formats(settings, truth, played, tiers_P, wires, work).seconds.times_s

    full_s_P = times_s_P(workloads)
    deadline_s *= 1 + ROUNDING
    late_P = full_s_P > deadline_s
    if not late_P.any():
        return workloads
    fixed_s_P = times_s_P(with_batches(settings, truth, workloads, np.zeros_like(workloads.batches_P)))
    share_P = np.maximum(deadline_s - fixed_s_P[late_P], 0.0) / (full_s_P - fixed_s_P)[late_P]
    batches_P = workloads.batches_P.copy()
    in_time_P = np.floor(share_P * workloads.images_P[late_P] / settings.batch_size).astype(np.int64)
    batches_P[late_P] = np.minimum(np.maximum(in_time_P, 1), batches_P[late_P])
    return with_batches(settings, truth, workloads, batches_P)


def _probe_s(settings: ScheduleSettings, truth: Conditions, clients_P: IntArray, probed_P: BoolArray) -> FloatArray:
    """Return the seconds that each client's probe takes: one batch in the shallowest tier; 0 without a probe."""
    cells = np.arange(len(clients_P)), probed_column(settings, truth, clients_P)
    speed_P = macs_per_s(settings, truth, clients_P)[cells]
    macs = settings.client_macs("client_train_macs", truth.profile_K[clients_P])
    shallowest_macs = macs[0] if macs.ndim == 1 else macs[cells]
    return np.where(probed_P, settings.batch_size * shallowest_macs / speed_P, 0.0)


def _work_in_tiers(
    settings: ScheduleSettings, workloads: ClientWorkloads, tiers_P: IntArray, probe_s_P: FloatArray | float
) -> RoundWork:
    """Return what the participants have to do in these tiers; a probe counts as training."""
    own = workloads.seconds.in_tiers(np.searchsorted(settings.table.tiers_M, tiers_P))
    return RoundWork(
        seconds=replace(own, training_s=probe_s_P + own.training_s),
        batches_P=workloads.batches_P,
        sent_batches_P=workloads.sent_batches_P,
    )


def _in_formats(
    settings: ScheduleSettings,
    truth: Conditions,
    workloads: ClientWorkloads,
    tiers_P: IntArray,
    wires: ChosenWires,
    work: RoundWork,
) -> RoundWork:
    """Return the work with uploads in the participants' own formats: the table has the bytes of the coarsest."""
    if not wires.names:
        return work
    coarsest_P = settings.table.column("smashed_bytes")[_cells(settings, tiers_P)[1]]
    more_P = workloads.sent_P * (wires.image_bytes_P - coarsest_P)
    transfer_s_P = work.seconds.transfer_s + more_P / truth.up_bytes_s_K[workloads.clients_P]
    return replace(work, seconds=replace(work.seconds, transfer_s=transfer_s_P))


def _cells(settings: ScheduleSettings, tiers_P: IntArray) -> tuple[IntArray, IntArray]:
    """Return each participant's row and column in arrays (P, M)."""
    return np.arange(len(tiers_P)), np.searchsorted(settings.table.tiers_M, tiers_P)


def _round_times(
    settings: ScheduleSettings, workloads: ClientWorkloads, tiers_P: IntArray, work: RoundWork
) -> tuple[RoundTimes, float]:
    """Return how the round goes and how long it lasts.

    A second pass, for batch norm's statistics of the new weights, begins when everybody is done: that wait is in the
    round's time, but not in a client's own.
    """
    cells, statistics = _cells(settings, tiers_P), workloads.statistics
    statistics_s_P = statistics.compute_s_PM[cells] + statistics.transfer_s_PM[cells]
    times = settings.timing.simulate(work, settings.server)
    round_time_s = float(times.client_time_s_P.max(initial=0.0) + statistics_s_P.max(initial=0.0))
    return replace(times, client_time_s_P=times.client_time_s_P + statistics_s_P), round_time_s


def _oracle(
    settings: ScheduleSettings, workloads: ClientWorkloads, open_PM: BoolArray | None
) -> tuple[IntArray, float | None]:
    """Return the oracle's tiers and how long the round lasts with them, without a probe; nothing if there is one tier.

    That is the time of all participants' whole work: nobody is stopped by a deadline.
    """
    tiers_M = settings.table.tiers_M
    if len(tiers_M) == 1 or not len(workloads.clients_P):
        return NO_ORDER, None
    choice = TierChoice(times_s_KM=workloads.seconds.times_s, tiers_M=tiers_M, open_KM=open_PM)
    tiers_P = Oracle().assign(choice, np.random.default_rng(0))  # it draws nothing
    return tiers_P, _round_times(settings, workloads, tiers_P, _work_in_tiers(settings, workloads, tiers_P, 0.0))[1]
