from dataclasses import replace

import pytest

from dtfl_private.attacking.victims.victims import recorded_victims, victim_tasks


@pytest.fixture
def placed(opened):
    """Return who is attacked in tier 2 of a tiny run, as (client, batches): three clients of 4 batches each."""

    def tasks(count, kind, **values):
        return [(task.client, batches) for task, batches in victim_tasks(opened(), 2, count, kind, **values)]

    return tasks


def test_first_batches_of_all_clients_come_before_second_ones(opened, placed):
    clients = [task.client for task in opened().tasks]
    assert placed(4, "batches") == [(clients[0], 1)]
    assert placed(5, "batches") == [(clients[0], 1), (clients[1], 1)]
    assert placed(13, "batches") == [(clients[0], 2), (clients[1], 1), (clients[2], 1)]


def test_whole_rounds_are_of_one_client_after_the_other(opened, placed):
    clients = [task.client for task in opened().tasks]
    assert placed(1, "rounds") == [(clients[0], 4)]
    assert placed(15, "rounds") == [(clients[0], 4), (clients[1], 4)]
    assert placed(1000, "rounds") == [(client, 4) for client in clients]  # all there are


def test_every_client_is_placed_in_the_tier_and_completes_its_round(opened):
    for task, _ in victim_tasks(opened(), 3, 1000, "rounds"):
        assert (task.tier, task.batches, task.sent_batches, task.completes) == (3, 4, None, True)


def test_as_scheduled_only_clients_of_the_tier_count_with_what_they_sent(opened):
    run = opened()
    used = {task.client: task.tier for task in run.tasks}
    tier = run.tasks[0].tier
    found = victim_tasks(run, 1, 1000, "batches", scheduled_in=tier)
    assert [task.client for task, _ in found] == [client for client, own in used.items() if own == tier]
    assert {task.tier for task, _ in found} == {1}
    assert victim_tasks(run, 1, 1000, "batches", scheduled_in=min({1, 2, 3} - set(used.values()))) == []


def test_recorded_victims_are_of_their_tier_and_whole_rounds_need_an_update(record_tiny):
    _, recording = record_tiny(tier=2, batches=3, whole=False)
    assert len(recorded_victims([recording], 2, 5, "batches").records) == 8  # two whole batches
    assert len(recorded_victims([recording], 2, 1000, "batches").records) == 12
    assert list(recorded_victims([recording], 1, 5, "batches").recordings) == []
    assert list(recorded_victims([recording], 2, 5, "rounds").recordings) == []
    refused = replace(recording, seen=replace(recording.seen, batches=()))
    assert recorded_victims([refused], 2, 5, "batches").seen == []


@pytest.mark.parametrize("every", [2, 3])
def test_only_records_that_were_sent_are_victims(opened, every):
    run = opened(send_every=every)
    found = victim_tasks(run, 2, 1000, "batches")
    assert [batches for _, batches in found] == [2, 2, 2]
    for task, batches in found:
        assert task.batches == 4
        recording = run.recorder().record(task, run.weights, batches=batches, whole=False)
        assert [batch.batch for batch in recording.seen.batches] == [0, every]
        labels = [label for batch in recording.seen.batches for label in batch.labels.tolist()]
        assert recording.truth.labels.tolist() == labels
