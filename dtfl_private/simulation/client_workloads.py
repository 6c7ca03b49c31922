"""What each participant of a round would have to do in each tier, in batches, images and true seconds."""

from dataclasses import dataclass

import numpy as np

from dtfl_private.protocol.contracts import BoolArray, FloatArray, IntArray
from dtfl_private.simulation.clients.conditions import Conditions, slowness
from dtfl_private.simulation.participation import draw_dropouts
from dtfl_private.simulation.schedule_state import ScheduleSettings
from dtfl_private.simulation.transfer_time import statistics_transfer_s, transfer_s
from dtfl_private.simulation.workload import Workload


@dataclass(frozen=True, kw_only=True)
class StatisticsPass:
    """What P participants in each of M tiers need to measure batch norm's statistics of the new weights; 0 if nothing.

    Attributes:
        images_PM: images that pass the client half once.
        compute_s_PM: seconds of these forward passes.
        transfer_s_PM: seconds for the weights down and the statistics up.
    """

    images_PM: IntArray
    compute_s_PM: FloatArray
    transfer_s_PM: FloatArray


@dataclass(frozen=True, kw_only=True)
class ClientWorkloads:
    """What P participants have to do in each of M tiers under the round's true resources; dropouts are in it.

    The arrays ``..._P`` are those of `RoundPlan`.

    Attributes:
        seconds: the parts of each participant's round, (P, M) arrays in seconds.
        statistics: the pass over the new weights after the round.
    """

    clients_P: IntArray
    batches_P: IntArray
    sent_batches_P: IntArray
    images_P: IntArray
    sent_P: IntArray
    dropped_P: BoolArray
    seconds: Workload
    statistics: StatisticsPass


def client_workloads(
    settings: ScheduleSettings, truth: Conditions, clients_P: IntArray, round_number: int
) -> ClientWorkloads:
    """Return the work of these participants in every tier."""
    share_P, dropped_P = draw_dropouts(settings, len(clients_P), round_number)
    records_P = settings.images_K[clients_P]
    per_epoch_P = -(-records_P // settings.batch_size)
    batches_P, streamed_P = settings.timing.batches(share_P, per_epoch_P, settings.local_epochs)
    return _workloads_of_batches(settings, truth, clients_P, batches_P, streamed_P, dropped_P)


def full_round_sent(settings: ScheduleSettings) -> IntArray:
    """Return the images that each client (K,) sends in a round in which nothing stops it."""
    records_K = settings.images_K
    per_epoch_K = -(-records_K // settings.batch_size)
    _, streamed_K = settings.timing.batches(np.ones(len(records_K)), per_epoch_K, settings.local_epochs)
    sent_batches_K = -(-streamed_K // settings.send_every)
    return images_in(sent_batches_K, records_K, settings.batch_size, settings.send_every)


def with_batches(
    settings: ScheduleSettings, truth: Conditions, workloads: ClientWorkloads, batches_P: IntArray
) -> ClientWorkloads:
    """Return the work of the same clients, which send as they train, with so many batches."""
    return _workloads_of_batches(settings, truth, workloads.clients_P, batches_P, batches_P, workloads.dropped_P)


def _workloads_of_batches(
    settings: ScheduleSettings,
    truth: Conditions,
    clients_P: IntArray,
    batches_P: IntArray,
    streamed_P: IntArray,
    dropped_P: BoolArray,
) -> ClientWorkloads:
    """Return the work of clients that train on ``batches_P`` batches, and send of ``streamed_P`` each so many-th."""
    records_P = settings.images_K[clients_P]
    sent_batches_P = -(-streamed_P // settings.send_every)
    images_P = images_in(batches_P, records_P, settings.batch_size)
    sent_P = images_in(sent_batches_P, records_P, settings.batch_size, settings.send_every)
    round_trips_P = settings.timing.round_trips(batches_P)
    return ClientWorkloads(
        clients_P=clients_P,
        batches_P=batches_P,
        sent_batches_P=sent_batches_P,
        images_P=images_P,
        sent_P=sent_P,
        dropped_P=dropped_P,
        seconds=_workload_s(settings, truth, clients_P, images_P, sent_P, round_trips_P, completes_P=~dropped_P),
        statistics=_statistics_pass(settings, truth, clients_P, dropped_P),
    )


def macs_per_s(settings: ScheduleSettings, truth: Conditions, clients_P: IntArray) -> FloatArray:
    """Return the clients' true speed in every tier, (P, M): what the MACs of the tier's profile are divided by."""
    slowness_KM = slowness(settings.environment, settings.table.module_macs, settings.table.tiers_M)
    return (truth.cpus_K[clients_P] * settings.cpu_macs_per_s)[:, None] / slowness_KM[clients_P]


def images_in(batches: IntArray, images: IntArray, batch_size: int, every: int = 1) -> IntArray:
    """Return the images in ``batches`` batches: the first, and each ``every``-th after it.

    Epochs follow one another, of ``images`` images each; the last batch of an epoch may be smaller.
    """
    per_epoch = -(-images // batch_size)
    smaller_by = per_epoch * batch_size - images
    epochs = batches * every // per_epoch
    last_ones = np.zeros_like(epochs)
    # Which epochs' last batches are among them repeats itself after ``every`` epochs.
    for epoch in range(1, int(min(every, epochs.max(initial=0))) + 1):
        is_among = (epoch * per_epoch - 1) % every == 0
        last_ones += np.where(is_among & (epochs >= epoch), (epochs - epoch) // every + 1, 0)
    counted: IntArray = batches * batch_size - last_ones * smaller_by
    return counted


def _workload_s(
    settings: ScheduleSettings,
    truth: Conditions,
    clients_P: IntArray,
    images_P: IntArray,
    sent_P: IntArray,
    round_trips_P: IntArray,
    *,
    completes_P: BoolArray,
) -> Workload:
    """Return the true seconds, (P, M), of training on ``images_P`` images and sending ``sent_P`` of them."""
    table, speed_PM, profile_P = settings.table, macs_per_s(settings, truth, clients_P), truth.profile_K[clients_P]
    training_PM = images_P[:, None] * settings.client_macs("client_train_macs", profile_P)
    releasing_PM = sent_P[:, None] * settings.client_macs("release_macs", profile_P)
    transfer_s_PM = transfer_s(
        table,
        sent_P.astype(np.float64),
        truth.up_bytes_s_K[clients_P],
        truth.down_bytes_s_K[clients_P],
        truth.latency_s_K[clients_P],
        completes=completes_P,
        round_trips=round_trips_P,
    )
    return Workload(
        training_s=training_PM / speed_PM,
        releasing_s=releasing_PM / speed_PM,
        service_s=sent_P[:, None] * settings.server_seconds_M,
        transfer_s=transfer_s_PM,
        trains_first=settings.timing.trains_first,
    )


def _statistics_pass(
    settings: ScheduleSettings, truth: Conditions, clients_P: IntArray, dropped_P: BoolArray
) -> StatisticsPass:
    """Return the work of the second pass: weights down, a forward pass over each image once, statistics up."""
    table = settings.table
    sent_M = table.column("statistics_bytes")
    if not sent_M.any():
        nothing_PM = np.zeros((len(clients_P), len(sent_M)))
        return StatisticsPass(images_PM=nothing_PM.astype(np.int64), compute_s_PM=nothing_PM, transfer_s_PM=nothing_PM)
    images_PM = np.where(dropped_P[:, None] | (sent_M == 0), 0, settings.images_K[clients_P][:, None])
    transfer_s_PM = statistics_transfer_s(
        table, truth.up_bytes_s_K[clients_P], truth.down_bytes_s_K[clients_P], truth.latency_s_K[clients_P]
    )
    macs = settings.client_macs("statistics_macs", truth.profile_K[clients_P])
    return StatisticsPass(
        images_PM=images_PM,
        compute_s_PM=images_PM * macs / macs_per_s(settings, truth, clients_P),
        transfer_s_PM=np.where(images_PM > 0, transfer_s_PM, 0.0),
    )
