"""Who is attacked: victims' rounds, played once more or as they were recorded.

The first batch of each client in the run's last round, for then the server knows the client's weights exactly; further
batches, whose weights have moved on, only when more victims are asked for. Each client is placed in the tier in
question and starts from the same global weights, so that tiers are compared at equal training.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from dtfl_private.attacking.victims.acting_defenses import differ_in_a_tier, least_defended
from dtfl_private.attacking.victims.replay import OpenedRun
from dtfl_private.data.preprocess import plain
from dtfl_private.protocol.messages import Seen
from dtfl_private.training.recording import Recording
from dtfl_private.training.state import GlobalWeights
from dtfl_private.training.tasks import ClientTask

VictimKind = Literal["batches", "rounds"]
"""Which records are attacked: those of clients' first batches, or all that a client's weight update depends on."""


@dataclass(frozen=True, kw_only=True)
class Victims:
    """Recorded rounds of the clients that hold the victims, with their ground truth; also of clients that refused.

    ``summed``: of how many clients the one recording is the sum; 1 where each has its own.
    """

    recordings: Sequence[Recording]
    summed: int = 1

    @property
    def seen(self) -> list[Seen]:
        """What the server saw of the clients that took part."""
        return [recording.seen for recording in self.recordings if recording.seen.records]

    @property
    def truth(self) -> Tensor:
        """The victims' images (N, C, H, W) in [0, 1], or sequences (N, T) int64, as they were really fed in."""
        return plain(torch.cat([recording.truth.images for recording in self.recordings]))

    @property
    def labels(self) -> Tensor:
        """The victims' true labels (N,)."""
        return torch.cat([recording.truth.labels for recording in self.recordings])

    @property
    def records(self) -> Tensor:
        """The victims' places in the training set (N,)."""
        return torch.cat([recording.truth.records for recording in self.recordings])


def recorded_victims(recordings: Sequence[Recording], tier: int, count: int, kind: VictimKind) -> Victims:
    """Return the victims of recorded clients in a tier: their first batches until there are ``count`` victims.

    Whole rounds are only those whose client sent an update.
    """
    fit = {
        recording.seen.download.client: recording
        for recording in recordings
        if recording.seen.download.tier == tier and (kind == "batches" or recording.seen.update is not None)
    }
    sizes = {client: [len(batch.labels) for batch in recording.seen.batches] for client, recording in fit.items()}
    taken = _victim_batches(sizes, count, kind)
    return Victims(recordings=[fit[client].first(batches) for client, batches in taken.items()])


def victim_tasks(
    opened: OpenedRun,
    tier: int,
    count: int,
    kind: VictimKind,
    *,
    clients: Collection[int] | None = None,
    scheduled_in: int | None = None,
) -> list[tuple[ClientTask, int]]:
    """Return clients' parts of the last round, placed in a tier, with the number of batches that hold victims.

    Args:
        opened: the run.
        tier: where every client is placed.
        count: victims that are wanted; whole batches are taken until they are reached, or all there are.
        kind: first batches of many clients, or whole rounds of few.
        clients: that may be attacked; None for all of the round.
        scheduled_in: take only clients that the scheduler had in this tier, and only what they really sent. Clients
            that share a server half are in one tier, and their round is as it was: whoever dropped out is left so.
    """
    if scheduled_in is None and opened.prepared.method.together:
        scheduled_in = tier
    if scheduled_in is not None:
        return _scheduled_tasks(opened, tier, count, kind, clients, scheduled_in)
    worker, there = opened.prepared.worker, _of_clients(opened, clients)
    tasks = {task.client: task for task in _attacked(opened, tier, there)}
    sizes = {client: sent_sizes(opened, client, tier) for client in tasks}
    taken = _victim_batches(sizes, count, kind)
    return [
        (_whole_round(tasks[client], tier, batches_per_epoch(opened, client) * worker.local_epochs), batches)
        for client, batches in taken.items()
    ]


def _scheduled_tasks(
    opened: OpenedRun, tier: int, count: int, kind: VictimKind, clients: Collection[int] | None, scheduled_in: int
) -> list[tuple[ClientTask, int]]:
    """Return the parts of clients that the scheduler had in a tier, with what they really sent."""
    own = [task for task in _of_clients(opened, clients) if task.tier == scheduled_in]
    there = [task for task in own if kind == "batches" or task.completes]
    tasks = _attacked(opened, tier, there)
    sizes = {task.client: sent_sizes(opened, task.client, scheduled_in)[: task.sends] for task in tasks}
    taken = _victim_batches(sizes, count, kind)
    return [(replace(task, tier=tier), taken[task.client]) for task in tasks if task.client in taken]


def _of_clients(opened: OpenedRun, clients: Collection[int] | None) -> list[ClientTask]:
    return [task for task in opened.tasks if clients is None or task.client in clients]


def _attacked(opened: OpenedRun, tier: int, tasks: Sequence[ClientTask]) -> Sequence[ClientTask]:
    """Return the tasks of the clients at whom the same defenses act, and the fewest, in a tier."""
    if not differ_in_a_tier(opened):
        return tasks
    among = least_defended(opened, tier, {task.client: task.profile for task in tasks})
    return [task for task in tasks if task.client in among]


def _whole_round(task: ClientTask, tier: int, batches: int) -> ClientTask:
    """Return a client's part as if it were in a tier and completed its round there."""
    return replace(task, tier=tier, batches=batches, sent_batches=None, completes=True)


def _victim_batches(sizes: Mapping[int, Sequence[int]], count: int, kind: VictimKind) -> dict[int, int]:
    """Return how many of its first batches each client's victims fill, for ``count`` victims or as many as there are.

    Args:
        sizes: records in each of a client's batches.
        count: victims that are wanted.
        kind: first batches of all clients before second ones, or whole rounds of one client after the other.
    """
    if kind == "batches":
        deepest = max(map(len, sizes.values()), default=0)
        chunks = [[client] for batch in range(deepest) for client in sizes if batch < len(sizes[client])]
    else:
        chunks = [[client] * len(sizes[client]) for client in sizes]
    taken, have = dict.fromkeys(sizes, 0), 0
    for chunk in chunks:
        if have >= count:
            break
        for client in chunk:
            have += sizes[client][taken[client]]
            taken[client] += 1
    return {client: batches for client, batches in taken.items() if batches}


def batches_per_epoch(opened: OpenedRun, client: int) -> int:
    """Return the batches in a pass over a client's records."""
    worker = opened.prepared.worker
    return -(-len(worker.parts[client]) // worker.batch_size)


def sent_sizes(opened: OpenedRun, client: int, tier: int) -> list[int]:
    """Return the records in each batch of a client's first pass that it sends; of one that sends none, in all."""
    worker, every = opened.prepared.worker, 1 if tier == opened.whole_tier else opened.prepared.worker.send_every
    records = len(worker.parts[client])
    return [min(worker.batch_size, records - start) for start in range(0, records, worker.batch_size * every)]


def play(
    opened: OpenedRun,
    tasks: Sequence[tuple[ClientTask, int]],
    weights: GlobalWeights,
    *,
    kind: VictimKind,
) -> Victims:
    """Let the victims' clients play their round from these weights, and record it."""
    recorder, whole = opened.recorder(), kind == "rounds"
    if not opened.prepared.method.together:
        return Victims(recordings=[recorder.record(task, weights, batches=own, whole=whole) for task, own in tasks])
    kept = {task.client: batches for task, batches in tasks}
    everybody = [(task, kept.get(task.client, 0)) for task in opened.tasks]
    played = recorder.record_together(everybody, weights, whole=whole)
    return Victims(recordings=[one for one in played if one.seen.download.client in kept])
