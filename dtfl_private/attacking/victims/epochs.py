"""Rounds of several epochs, cut into single ones: each holds a record at most once."""

from collections.abc import Sequence
from dataclasses import replace

from dtfl_private.attacking.victims.replay import OpenedRun
from dtfl_private.attacking.victims.victims import VictimKind, _batch_sizes
from dtfl_private.errors import InputError
from dtfl_private.protocol.messages import Seen
from dtfl_private.training.recording import Recorder, Recording


def whole_epochs(opened: OpenedRun, recordings: Sequence[Recording], kind: VictimKind) -> list[Recording]:
    """Return recordings cut to the first epoch, so that each record is there once; of whole rounds complete ones only.

    Raises:
        InputError: whole rounds are asked for, and only their first batches were recorded.
    """
    cut = [recording.first(_per_epoch(opened, recording.seen.download.client)) for recording in recordings]
    if kind == "batches":
        return cut
    complete = [one for one in cut if len(one.seen.batches) == _per_epoch(opened, one.seen.download.client)]
    if not complete:
        raise InputError(
            "only the first batches of each client's round were recorded, and this attack explains whole rounds: use "
            "--replay, or record with a larger --record-images"
        )
    return complete


def later_epochs(opened: OpenedRun, recorder: Recorder, seen: Seen) -> list[Seen]:
    """Return what a client sent in each further epoch of the round that began as ``seen``, if there were any."""
    worker, client = opened.prepared.worker, seen.download.client
    if worker.local_epochs == 1 or worker.defense.releases_apart:
        return []
    batches = _per_epoch(opened, client) * worker.local_epochs
    task = next(task for task in opened.tasks if task.client == client)
    task = replace(task, tier=seen.download.tier, batches=batches, completes=False)
    return by_epoch(opened, recorder.record(task, opened.weights, batches=batches, whole=False).seen)[1:]


def by_epoch(opened: OpenedRun, seen: Seen) -> list[Seen]:
    """Return a client's round epoch by epoch, each of which holds a record at most once."""
    size = _per_epoch(opened, seen.download.client)
    return [replace(seen, batches=seen.batches[start : start + size]) for start in range(0, len(seen.batches), size)]


def _per_epoch(opened: OpenedRun, client: int) -> int:
    worker = opened.prepared.worker
    return len(_batch_sizes(len(worker.parts[client]), worker.batch_size))
