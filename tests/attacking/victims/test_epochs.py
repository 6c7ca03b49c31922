import pytest

from dtfl_private.attacking.victims.epochs import by_epoch, later_epochs, whole_epochs
from dtfl_private.errors import InputError


@pytest.fixture
def played(opened):
    """A run of two epochs a round, and the whole last round of one of its clients: two times 4 batches."""
    run = opened(local_epochs=2)
    task = run.tasks[0]
    return run, run.recorder().record(task, run.weights, batches=8, whole=True)


def records_of(recording):
    return sorted(recording.truth.records.tolist())


def test_a_round_is_cut_into_epochs_that_hold_each_record_once(played):
    run, recording = played
    first, second = by_epoch(run, recording.seen)
    assert first.batches + second.batches == recording.seen.batches
    assert [len(epoch.batches) for epoch in (first, second)] == [4, 4]
    (cut,) = whole_epochs(run, [recording], "rounds")
    assert records_of(cut) == sorted(run.prepared.worker.parts[recording.seen.download.client].tolist())
    assert cut.seen.batches == first.batches


def test_of_whole_rounds_incomplete_ones_are_left_out_and_if_all_are_it_is_said(played):
    run, recording = played
    part = recording.first(3)
    (batches,) = whole_epochs(run, [part], "batches")
    assert batches.seen.batches == part.seen.batches
    (kept,) = whole_epochs(run, [part, recording], "rounds")
    assert len(kept.seen.batches) == 4
    with pytest.raises(InputError, match="only the first batches of each client's round were recorded"):
        whole_epochs(run, [part], "rounds")


def test_later_epochs_are_played_from_what_was_seen_at_first(played, opened):
    run, recording = played
    (later,) = later_epochs(run, [recording.first(1).seen])
    expected = by_epoch(run, recording.seen)[1]
    assert [batch.smashed.tolist() for batch in later.batches] == [batch.smashed.tolist() for batch in expected.batches]
    once = opened()
    assert later_epochs(once, [recording.seen]) == []


@pytest.mark.parametrize("every", [2, 3])
def test_epochs_of_which_only_some_batches_are_sent_are_told_apart_by_what_was(opened, every):
    """Eight batches, of which those numbered 0, 2, 4 and 6 are sent, or 0, 3 and 6; an epoch ends after number 3."""
    run = opened(local_epochs=2, send_every=every)
    recording = run.recorder().record(run.tasks[0], run.weights, batches=8, whole=True)
    first, second = by_epoch(run, recording.seen)
    assert [batch.batch for batch in first.batches] == list(range(0, 4, every))
    assert [batch.batch for batch in second.batches] == [number for number in range(4, 8) if number % every == 0]
    (cut,) = whole_epochs(run, [recording], "batches")
    assert cut.seen.batches == first.batches
    assert len(cut.truth.records) == sum(len(batch.labels) for batch in first.batches)
    (later,) = later_epochs(run, [first])
    assert [batch.batch for batch in later.batches] == [batch.batch for batch in second.batches]
