"""Rounds of several epochs, cut into single ones: each holds a record at most once."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from dtfl_private.attacking.victims.replay import OpenedRun
from dtfl_private.attacking.victims.victims import VictimKind, batches_per_epoch, play, sent_sizes
from dtfl_private.errors import InputError
from dtfl_private.protocol.messages import Seen
from dtfl_private.training.recording import Recording
from dtfl_private.training.tasks import ClientTask


def whole_epochs(opened: OpenedRun, recordings: Sequence[Recording], kind: VictimKind) -> list[Recording]:
    """Return recordings cut to the first epoch, so that each record is there once; of whole rounds complete ones only.

    Raises:
        InputError: whole rounds are asked for, and only their first batches were recorded.
    """
    cut = [recording.first(_sent_in_first(opened, recording.seen)) for recording in recordings]
    if kind == "batches":
        return cut
    complete = [one for one in cut if len(one.seen.batches) == _sent_in_first(opened, one.seen)]
    if not complete:
        raise InputError(
            "only the first batches of each client's round were recorded, and this attack explains whole rounds: use "
            "--replay, or record with a larger --record-images"
        )
    return complete


def later_epochs(opened: OpenedRun, seen: Sequence[Seen]) -> list[Seen]:
    """Return what clients sent in each further epoch of the round that began as ``seen``, if there were any."""
    if opened.prepared.worker.local_epochs == 1 or opened.sends_once:
        return []
    tasks = {task.client: task for task in opened.tasks}
    parts = [_all_epochs(opened, tasks[one.download.client], one.download.tier) for one in seen]
    played = play(opened, [(task, task.sends) for task in parts], opened.weights, kind="batches")
    return [later for one in played.seen for later in by_epoch(opened, one)[1:]]


def _all_epochs(opened: OpenedRun, task: ClientTask, tier: int) -> ClientTask:
    """Return a client's part of the round, in a tier; all of it, unless the round can only be played as it was."""
    if opened.prepared.method.together:
        return task
    batches = batches_per_epoch(opened, task.client) * opened.prepared.worker.local_epochs
    return replace(task, tier=tier, batches=batches, sent_batches=None, completes=False)


def by_epoch(opened: OpenedRun, seen: Seen) -> list[Seen]:
    """Return a client's round epoch by epoch, each of which holds a record at most once."""
    size, every = batches_per_epoch(opened, seen.download.client), opened.prepared.worker.send_every
    # Of the batches that are sent, the first of each epoch.
    begins = [-(-batch // every) for batch in range(0, len(seen.batches) * every, size)]
    return [seen.part(*between) for between in pairwise([*begins, len(seen.batches)]) if between[0] < between[1]]


def _sent_in_first(opened: OpenedRun, seen: Seen) -> int:
    """Return how many batches a client sends in the first epoch of its round."""
    return len(sent_sizes(opened, seen.download.client, seen.download.tier))
