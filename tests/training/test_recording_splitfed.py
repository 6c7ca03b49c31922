"""SplitFed's rounds played once more, against the messages of the rounds themselves."""

from collections import defaultdict

import pytest
import torch

from dtfl_private.plugins.registry import create
from dtfl_private.protocol.messages import GradientReply, SmashedBatch, Transcript, WeightUpdate
from dtfl_private.training.recording import Recorder


@pytest.fixture
def played(prepare_tiny, play):
    """Play two rounds: ``played(method, dropout=0.5)`` is the run, the second's beginning and plan, the messages."""

    def run(method, **values):
        transcript = Transcript()
        defenses = [create("defense", text) for text in values.pop("defended", [])]
        prepared = prepare_tiny(method=method, defenses=defenses, augment=["flip"], local_epochs=2, **values)
        (before, _), (_, outcome) = play(prepared, rounds=2, observers=[transcript.record])
        sent = defaultdict(list)
        for message in transcript.messages:
            if getattr(message, "round", None) == 2:
                sent[message.client, type(message)].append(message)
        return prepared, before, outcome.plan, sent

    return run


def same_messages(recorded, sent):
    assert len(recorded) == len(sent)
    for one, other in zip(recorded, sent, strict=True):
        for field in ("smashed", "labels", "gradient"):
            if hasattr(one, field):
                assert torch.equal(getattr(one, field), getattr(other, field))
        assert one.batch == other.batch


@pytest.mark.parametrize("defended", [[], ["dropout:p=0.5", "label-rr:epsilon=1"]], ids=["plain", "defended"])
def test_a_round_of_splitfed_v1_is_recorded_client_by_client(played, defended):
    prepared, before, plan, sent = played("splitfed-v1", defended=defended)
    recorder = Recorder(prepared.worker)
    for task in prepared.method.tasks(plan, before):
        seen = recorder.record(task, before.weights, batches=3, whole=True).seen
        same_messages(seen.batches, sent[task.client, SmashedBatch][:3])
        same_messages(seen.replies, sent[task.client, GradientReply][:3])
        (update,) = sent[task.client, WeightUpdate]
        assert all(torch.equal(seen.update.weights[name], update.weights[name]) for name in update.weights)
        assert seen.download.head == seen.update.head == {}
        short = recorder.record(task, before.weights, batches=2, whole=False).seen
        same_messages(short.batches, seen.batches[:2])
        assert short.update is None


@pytest.mark.parametrize("dropout", [0.0, 0.6], ids=["complete", "dropping out"])
def test_clients_that_take_turns_on_one_server_half_are_recorded_together(played, dropout):
    prepared, before, plan, sent = played("splitfed-v2", dropout=dropout, clients=4, seed=3)
    assert plan.dropped_P.any() == bool(dropout)
    tasks = prepared.method.tasks(plan, before)
    recorder = Recorder(prepared.worker)
    whole = recorder.record_together([(task, 100) for task in tasks], before.weights, whole=True)
    for task, recording in zip(tasks, whole, strict=True):
        same_messages(recording.seen.batches, sent[task.client, SmashedBatch])
        same_messages(recording.seen.replies, sent[task.client, GradientReply])
        assert (recording.seen.update is None) == (not task.completes)
    # Cut short: one client's first three batches, and nobody else's, depend on what the others sent in between.
    kept = [(task, 3 if place == len(tasks) - 1 else 0) for place, task in enumerate(tasks)]
    *others, last = recorder.record_together(kept, before.weights, whole=False)
    same_messages(last.seen.batches, sent[tasks[-1].client, SmashedBatch][:3])
    assert len(last.truth.labels) == sum(len(batch.labels) for batch in last.seen.batches)
    assert not any(other.seen.batches for other in others)


def test_a_client_on_its_own_would_send_something_else(played):
    prepared, before, plan, sent = played("splitfed-v2")
    task = prepared.method.tasks(plan, before)[1]
    seen = Recorder(prepared.worker).record(task, before.weights, batches=3, whole=False).seen
    first, *_, last = sent[task.client, SmashedBatch][:3]
    assert torch.equal(seen.batches[0].smashed, first.smashed)
    assert not torch.equal(seen.batches[2].smashed, last.smashed)


def test_what_a_message_was_made_of_is_known_of_each_client(played):
    prepared, before, plan, _ = played("splitfed-v2")
    worker, tasks = prepared.worker, prepared.method.tasks(plan, before)
    for task, recording in zip(
        tasks,
        Recorder(worker).record_together([(task, 2) for task in tasks], before.weights, whole=False),
        strict=True,
    ):
        truth = recording.truth
        assert set(truth.records.tolist()) <= set(worker.parts[task.client].tolist())
        assert torch.equal(truth.labels, torch.cat([batch.labels for batch in recording.seen.batches]))
