"""A search that is killed goes on to the same frontier."""

import json
from pathlib import Path

import pytest
from commanded import killed_after

from dtfl_private.choosing import page, rungs, written_tuning
from dtfl_private.cli import main as cli

CONFIG = """
dataset = "digits:size=8"
max_train_images = 60
batch_size = 8
clients = 2
rounds = 1
tiers = 1
device = "cpu"
"""

SPACE = """
[[defense]]
name = "gaussian-noise"
settings = { sd = { low = 0.1, high = 30.0, scale = "log" } }
"""

# Without what takes a trial longer than its training, and with few records to attack.
QUICK = {"LEFT_OUT": rungs.LEFT_OUT | {"surrogate", "unshuffle"}, "QUICK_VICTIMS": 16, "VICTIMS": 32}


def run(*arguments: object) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main([str(argument) for argument in arguments])
    assert left.value.code == 0


def attack_quickly() -> None:
    for name, value in QUICK.items():
        setattr(rungs, name, value)


def trials_of(folder: Path) -> list[dict[str, object]]:
    """Return the trials of a search in the order of their numbers, without how long they really took."""
    lines = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    for line in lines:
        del line["wall_s"]
    return sorted(lines, key=lambda line: (line["rung"], line["trial"]))


def test_a_search_killed_by_the_system_goes_on_to_the_same_trials_and_frontier(tmp_path, monkeypatch):
    """SIGKILL comes somewhere after the third trial. No point can be within the limits, so that none is audited."""
    for name, value in QUICK.items():
        monkeypatch.setattr(rungs, name, value)
    for module in (page, written_tuning):  # nobody looks at pictures here
        monkeypatch.setattr(module, "frontier_picture", lambda *_, **__: b"<svg/>")
    (tmp_path / "c.toml").write_text(CONFIG)
    (tmp_path / "s.toml").write_text(SPACE)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    asked = ["tune", str(tmp_path / "c.toml"), "--space", str(tmp_path / "s.toml"), "--limit", "ssim<=-0.9"]
    asked += ["--trials", "4", "--workers", "1"]
    killed_after("[3] trial", [*asked, "--out", str(killed)], attack_quickly)
    assert 3 <= len(trials_of(killed)) < 4
    assert not (killed / "tune.json").exists()

    monkeypatch.setattr("dtfl_private.runtime.allocator.tune_allocator", lambda: None)
    run("tune", "--resume", killed)
    run(*asked, "--out", whole)
    assert trials_of(killed) == trials_of(whole)
    documents = [json.loads((folder / "tune.json").read_text()) for folder in (killed, whole)]
    assert [one.pop("folder") for one in documents] == [str(killed), str(whole)]
    assert documents[0] == documents[1]
    assert documents[0]["frontier"]
