import torch

from dtfl_private.auditing.audit_config import AuditConfig
from dtfl_private.auditing.measured_release import USUAL_DELTA, measured_run, release_at
from dtfl_private.plugins.registry import create


def config(measured=100):
    return AuditConfig(aux_images=60, measured=measured, device="cpu", workers=1).settled()


def test_records_are_whole_batches_of_the_last_rounds_clients_as_many_as_allowed(opened):
    run = opened()
    parts = [run.prepared.worker.parts[task.client] for task in run.tasks]
    everything = measured_run(run, config(100))
    assert everything.batch_size == 4
    assert len(everything.records) == sum(len(part) // 4 * 4 for part in parts)
    assert set(everything.records.tolist()) <= {record for part in parts for record in part.tolist()}
    few = measured_run(run, config(100).model_copy(update={"measured": 9}))
    assert few.records.tolist() == everything.records[:12].tolist()


def test_without_defenses_what_is_released_is_what_the_encoder_says_but_for_dropout(opened):
    run = opened()
    release = release_at(measured_run(run, config()), 1)
    batch = slice(0, release.batch_size)
    torch.testing.assert_close(release.smashed[batch], release.encoder(release.images[batch]))
    assert release.delta == USUAL_DELTA
    assert release.noise.std is None


def test_defended_draws_differ_and_repeat_by_their_number(opened):
    run = opened(defenses=[create("defense", "gaussian-noise:sd=5.0")])
    release = release_at(measured_run(run, config()), 1)
    images, labels = release.images[: release.batch_size], release.labels[: release.batch_size]
    one, again, other = (release.release(images, labels, draw) for draw in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert release.noise.std == 5.0
    # The encoder is the client half alone.
    assert (one - release.encoder(images)).std() > 2


def test_a_record_was_sent_as_often_as_its_clients_were_there(opened):
    run = opened(scheduler="static:2", local_epochs=2)
    measured = measured_run(run, config())
    assert release_at(measured, 2).releases == 4  # two rounds of two epochs
    assert release_at(measured, 1).releases == 1  # nobody was there
