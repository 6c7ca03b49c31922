import json
import subprocess
import sys
from importlib.metadata import version

from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.run_folder import provenance
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.run_folder.provenance import describe_environment, note_images, with_all_images
from dtfl_private.numerics import Numerics


def test_the_environment_says_versions_device_and_commit():
    found = describe_environment(Numerics(), workers=3, data_sha256="0f", executor="local")
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["versions"]["torch"] == version("torch")
    assert set(found["versions"]) >= {"dtfl-private", "torch", "numpy"}
    assert (found["device"], found["workers"], found["threads_per_worker"]) == ("cpu", 3, 1)
    json.dumps(found)


def test_without_git_or_a_checkout_the_commit_is_unknown(monkeypatch, tmp_path):
    def no_git(*_args, **_settings):
        raise FileNotFoundError

    monkeypatch.setattr(provenance, "_commit", provenance._commit.__wrapped__)  # each time anew
    monkeypatch.setattr(subprocess, "run", no_git)
    assert describe_environment(Numerics(), workers=1, data_sha256="0f", executor="local")["commit"] is None
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "dtfl_private" / "a" / "b" / "c.py"))
    assert describe_environment(Numerics(), workers=1, data_sha256="0f", executor="local")["commit"] is None


def test_images_that_are_known_later_are_written_down_and_a_damaged_file_is_left_as_it_is(tmp_path):
    folder, config = RunFolder(path=tmp_path), TrainConfig(clients=2)
    assert with_all_images(config, folder) == config
    folder.environment.write_text('{"clock": "wall", "images": [3, 0]}')
    assert with_all_images(config, folder) == config  # nobody knows how many they are
    note_images(folder, [3, 4])
    assert json.loads(folder.environment.read_text()) == {"clock": "wall", "images": [3, 4]}
    assert with_all_images(config, folder).max_train_images == 7
    for damaged in ("{", "[1]"):
        folder.environment.write_text(damaged)
        note_images(folder, [3, 4])
        assert folder.environment.read_text() == damaged
