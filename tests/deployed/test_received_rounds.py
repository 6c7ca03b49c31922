"""What the server keeps of what it received is what a simulation of the same run would have recorded."""

from dataclasses import replace

import pytest
import torch

from dtfl_private.attacking.victims.recorded_rounds import latest_recordings
from dtfl_private.attacking.victims.replay import open_run
from dtfl_private.deployed.truth import add_truth
from dtfl_private.errors import InputError
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.run_folder.recordings import load_seen, load_truth, save_truth
from dtfl_private.experiments.train import train
from tests.deployed.federation import federation

RECORDED = {"scheduler": "static:2", "record_rounds": ["last"], "record_images": 16, "rounds": 2}


@pytest.fixture(scope="module")
def received(tmp_path_factory):
    """A deployed run that was recorded, with the truth that its clients kept, and the same run in one process."""
    folder = tmp_path_factory.mktemp("received")
    with federation(folder, **RECORDED) as made:
        server = made.serve()
        clients = [made.join(client, keep_truth=folder / f"truth-{client}") for client in range(3)]
        server.ended()
        for client in clients:
            client.ended()
        train(made.config, out=folder / "simulated")
    for client in range(3):
        assert add_truth(RunFolder(path=made.run), folder / f"truth-{client}", client) == [2]
    return folder


def test_the_messages_are_those_that_a_replay_has(received):
    for client in range(3):
        one, other = (load_seen(received / run / "transcript", 2, client) for run in ("run", "simulated"))
        assert len(one.batches) == len(other.batches) == 1
        for mine, its in zip(one.batches, other.batches, strict=True):
            assert torch.equal(mine.smashed, its.smashed)
            assert torch.equal(mine.labels, its.labels)
        assert one.update is not None
        assert other.update is not None
        assert all(torch.equal(one.update.weights[name], its) for name, its in other.update.weights.items())


def test_the_truth_is_brought_to_the_records_of_the_run(received):
    for client in range(3):
        one, other = (load_truth(received / run / "transcript", 2, client) for run in ("run", "simulated"))
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)
        assert torch.equal(one.records, other.records)


def test_attacks_find_the_recording_and_the_tiers_that_clients_were_in(received):
    opened = open_run(received / "run")
    assert [one.seen.download.tier for one in latest_recordings(opened)] == [2, 2, 2]
    assert opened.plan.tiers_P.tolist() == [2, 2, 2]


def test_truth_of_a_client_that_was_not_recorded_is_refused(received):
    with pytest.raises(InputError, match="no recorded round of client 7"):
        add_truth(RunFolder(path=received / "run"), received / "truth-0", 7)


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda truth: replace(truth, records=truth.records.float()),
        lambda truth: replace(truth, records=truth.records - 40),
        lambda truth: replace(truth, labels=(truth.labels + 1) % 10),
        lambda truth: replace(truth, images=truth.images[:, :, :4]),
    ],
)
def test_truth_that_is_not_that_of_the_clients_records_is_refused(received, tmp_path, spoilt):
    """By such truth an attack that has found an image would be scored as one that has not."""
    save_truth(tmp_path, 2, 0, spoilt(load_truth(received / "truth-0", 2, 0)))
    with pytest.raises(InputError, match="records that client 0 does not have in this run"):
        add_truth(RunFolder(path=received / "run"), tmp_path, 0)


def test_truth_of_fewer_records_than_were_received_is_refused(received, tmp_path):
    save_truth(tmp_path, 2, 0, load_truth(received / "truth-0", 2, 0).first(15))
    with pytest.raises(InputError, match="holds 15 records of round 2, and the server has received 16"):
        add_truth(RunFolder(path=received / "run"), tmp_path, 0)


def test_a_run_whose_clients_had_images_of_their_own_is_not_attacked(received, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for path in (received / "run").iterdir():
        (run / path.name).symlink_to(path)
    (run / "environment.json").unlink()
    told = (received / "run" / "environment.json").read_text()
    (run / "environment.json").write_text(told.replace('"images": [\n    32,', '"images": [\n    31,'))
    with pytest.raises(InputError, match="images of their own"):
        open_run(run)
