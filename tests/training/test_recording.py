"""A round that is played once more, against the messages of the round itself."""

import pytest
import torch

from dtfl_private.plugins.registry import create
from dtfl_private.protection.base import Defense
from dtfl_private.protocol.messages import SmashedBatch, Transcript, WeightUpdate
from dtfl_private.training.recording import Recorder
from dtfl_private.training.tasks import tasks_of

DEFENDED = ["patch-shuffle:patch=2", "laplace-noise", "label-rr:epsilon=1"]


def equal_states(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("defended", [[], DEFENDED, ["gaussian-noise"]], ids=["plain", "defended", "apart"])
def test_what_is_recorded_later_is_what_was_sent(prepare_tiny, play, defended):
    transcript = Transcript()
    defenses: list[Defense] = [create("defense", text) for text in defended]
    prepared = prepare_tiny(defenses=defenses, augment=["crop", "flip"])
    played = play(prepared, rounds=2, observers=[transcript.record])
    (before, _), (_, outcome) = played
    recorder = Recorder(prepared.worker)
    for task in tasks_of(outcome.plan, before):
        recording = recorder.record(task, before.weights, batches=2, whole=True)
        sent = [m for m in transcript.messages if m.client == task.client and m.round == 2]
        batches = [message for message in sent if isinstance(message, SmashedBatch)][:2]
        (update,) = [message for message in sent if isinstance(message, WeightUpdate)]
        assert len(recording.seen.batches) == 2
        for recorded, original in zip(recording.seen.batches, batches, strict=True):
            assert torch.equal(recorded.smashed, original.smashed)
            assert torch.equal(recorded.labels, original.labels)
            assert (recorded.tier, recorded.batch) == (original.tier, original.batch)
        assert recording.seen.update is not None
        assert equal_states(recording.seen.update.weights, update.weights)
        assert equal_states(recording.seen.update.head, update.head)


def test_the_truth_is_what_the_messages_were_made_of(record_truth):
    prepared, recording = record_truth(augment=["flip"])
    worker, truth = prepared.worker, recording.truth
    assert set(truth.records.tolist()) <= set(worker.parts[1].tolist())
    assert torch.equal(truth.labels, worker.train_labels[truth.records])
    originals = worker.train_images[truth.records]
    same = (truth.images == originals).flatten(1).all(dim=1)
    mirrored = (truth.images == originals.flip(-1)).flatten(1).all(dim=1)
    assert (same | mirrored).all()
    assert not same.all()


def test_part_of_a_recording(record_truth):
    _, recording = record_truth()
    first = recording.first(1)
    size = len(recording.seen.batches[0].labels)
    assert len(first.seen.batches) == 1
    assert torch.equal(first.truth.records, recording.truth.records[:size])


@pytest.fixture
def record_truth(prepare_tiny):
    def record(**values):
        prepared = prepare_tiny(**values)
        (task,) = [task for task in tasks_of(_first_plan(prepared), prepared.initial) if task.client == 1]
        return prepared, Recorder(prepared.worker).record(task, prepared.initial.weights, batches=2, whole=False)

    return record


def _first_plan(prepared):
    from dtfl_private.simulation.schedule_round import schedule_round

    return schedule_round(prepared.initial.schedule, prepared.settings.schedule, 1)[1]
