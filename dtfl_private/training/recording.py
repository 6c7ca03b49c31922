"""Record what one client's round looks like from the server, and apart from it the ground truth.

A client's round follows from the global weights that it begins with, its task and the run's settings alone. So it can
be recorded by replaying it, while the run goes on or long after it, and whichever executor ran it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dtfl_private.protection.client_context import Remark
from dtfl_private.protocol.messages import (
    GradientReply,
    LogitBatch,
    Message,
    MiddleOutput,
    Seen,
    SmashedBatch,
    TailGradient,
    WeightUpdate,
)
from dtfl_private.training.state import GlobalWeights
from dtfl_private.training.tasks import ClientTask
from dtfl_private.training.worker import Worker, WorkerSetup, honest_download


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What the recorded batches were made of: never shown to an attack.

    Attributes:
        images: (N, *input shape) uint8, after augmentation: what was really fed in.
        labels: (N,) true labels.
        records: (N,) positions in the training set.
    """

    images: Tensor
    labels: Tensor
    records: Tensor

    def first(self, images: int) -> "Truth":
        """Return the ground truth of only the first so many images."""
        return Truth(images=self.images[:images], labels=self.labels[:images], records=self.records[:images])


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A client's round as the server saw it, its ground truth, and what the client's guards said."""

    seen: Seen
    truth: Truth
    remarks: Sequence[Remark]

    @property
    def refused(self) -> bool:
        """Whether the client took no part, because of what it was sent."""
        return any(remark.refuses for remark in self.remarks)

    def first(self, batches: int) -> "Recording":
        """Return the recording with only the first so many batches."""
        seen = self.seen.first(batches)
        images = sum(len(batch.labels) for batch in seen.batches)
        return replace(self, seen=seen, truth=self.truth.first(images))


Inputs = tuple[Tensor, Tensor, Tensor]
"""Record numbers (B,) of a client, stored images or tokens (B, ...), true labels (B,)."""


class Recorder:
    """Plays clients' rounds and records them, one after the other, in this process.

    Args:
        setup: of the run's workers.
        sends_weights: whether clients are sent weights at the start of a round.
    """

    def __init__(self, setup: WorkerSetup, *, sends_weights: bool = True) -> None:
        self._setup, self._sends_weights = setup, sends_weights
        self._messages: list[Message] = []
        self._inputs: dict[int, list[Inputs]] = {}
        self._fetched: list[Inputs] = []
        self._latest: Inputs | None = None
        self._keeps_whole, self._batches = False, 0
        self._worker = Worker(setup, [self._on_message], self._on_inputs)

    def _on_inputs(self, records: Tensor, images: Tensor, labels: Tensor) -> None:
        self._latest = (records, images, labels)
        if self._keeps_whole and len(self._fetched) < self._batches:
            self._fetched.append(self._latest)

    def _on_message(self, message: Message) -> None:
        self._messages.append(message)
        if isinstance(message, SmashedBatch):
            # A message is made of the batch that was fetched last, also where the release is apart from training.
            assert self._latest is not None
            self._inputs.setdefault(message.client, []).append(self._latest)

    def record(self, task: ClientTask, weights: GlobalWeights, *, batches: int, whole: bool) -> Recording:
        """Replay a client's round from these global weights.

        Args:
            task: the client's part of the round.
            weights: that the round begins with, or what a malicious server sends in their place.
            batches: batches to keep, the first ones; fewer if the client sends fewer. Of a client that keeps the whole
                network, and sends no batches, those that it trained on.
            whole: replay the round to its end, for the weight update.
        """
        (recording,) = self.record_together([(task, batches)], weights, whole=whole)
        return recording

    def record_together(
        self, tasks: Sequence[tuple[ClientTask, int]], weights: GlobalWeights, *, whole: bool
    ) -> list[Recording]:
        """Replay the round of all clients that share a server half, otherwise as `record`.

        Args:
            tasks: their parts of the round, each with the number of batches to keep.
            weights: that the round begins with.
            whole: replay the round to its end.
        """
        self._messages, self._inputs, self._fetched, self._latest = [], {}, [], None
        first, self._batches = tasks[0]
        self._keeps_whole = first.tier == len(self._setup.model)
        played = [task for task, _ in tasks] if whole else _cut_short(tasks)
        results = self._setup.work.train(self._worker, played, weights)
        return [
            self._recording(task, weights, batches, result.remarks)
            for (task, batches), result in zip(tasks, results, strict=True)
        ]

    def _recording(
        self, task: ClientTask, weights: GlobalWeights, batches: int, remarks: Sequence[Remark]
    ) -> Recording:
        """Return what was just played of a client."""
        sent = [message for message in self._messages if message.client == task.client]
        updates = [message for message in sent if isinstance(message, WeightUpdate)]
        download = honest_download(self._setup, task, weights)
        seen = Seen(
            download=download if self._sends_weights else replace(download, weights={}, head={}),
            batches=tuple(message for message in sent if isinstance(message, SmashedBatch)),
            update=updates[0] if updates else None,
            replies=tuple(message for message in sent if isinstance(message, GradientReply)),
            logits=tuple(message for message in sent if isinstance(message, LogitBatch)),
            outputs=tuple(message for message in sent if isinstance(message, MiddleOutput)),
            tail_gradients=tuple(message for message in sent if isinstance(message, TailGradient)),
        ).first(batches)
        kept = self._fetched if self._keeps_whole else self._inputs.get(task.client, [])[: len(seen.batches)]
        return Recording(seen=seen, truth=self._truth(task.client, kept), remarks=remarks)

    def _truth(self, client: int, kept: Sequence[Inputs]) -> Truth:
        part = torch.from_numpy(self._setup.parts[client])
        shape, dtype = self._setup.train_images.shape[1:], self._setup.train_images.dtype
        return Truth(
            images=torch.cat([images.cpu() for _, images, _ in kept]) if kept else torch.empty(0, *shape, dtype=dtype),
            labels=torch.cat([labels.cpu() for _, _, labels in kept]) if kept else torch.empty(0, dtype=torch.int64),
            records=torch.cat([part[records.cpu()] for records, _, _ in kept])
            if kept
            else torch.empty(0, dtype=torch.int64),
        )


def _cut_short(tasks: Sequence[tuple[ClientTask, int]]) -> list[ClientTask]:
    """Return tasks that end when each client has sent as many batches as are to be kept."""
    ends = [task.turns[min(batches, len(task.turns)) - 1] for task, batches in tasks if batches and task.turns]
    return [_up_to(task, batches, max(ends, default=-1)) for task, batches in tasks]


def _up_to(task: ClientTask, batches: int, last_turn: int) -> ClientTask:
    """Return a task that ends after so many batches, or, where clients take turns, after a turn."""
    if not task.turns:
        return replace(task, sent_batches=min(task.sends, batches), completes=False)
    turns = tuple(turn for turn in task.turns if turn <= last_turn)
    return replace(task, turns=turns, sent_batches=len(turns), completes=False)
