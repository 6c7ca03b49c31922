import json
from pathlib import Path

import pytest
from commanded import killed_after

from dtfl_private.cli import main as cli

SMALL = [
    *("--dataset", "digits:size=8", "--max-train-images", "120", "--clients", "3", "--rounds", "16"),
    *("--workers", "1", "--scheduler", "random", "--dropout", "0.2", "--noise", "0.2", "--seed", "2"),
]


def run(*arguments: object) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main([str(argument) for argument in arguments])
    assert left.value.code == 0


def rounds_of(folder: Path) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    for line in lines:
        del line["wall_time_s"]
    return lines


def test_a_run_killed_by_the_system_goes_on_to_the_same_weights_and_rounds(tmp_path, monkeypatch, capsys):
    """SIGKILL comes somewhere after the third round, in the midst of whatever the process is at."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    killed_after("round  3/16", ["train", *SMALL, "--out", str(killed)])
    assert 3 <= (killed / "rounds.jsonl").read_text().count("\n") < 16

    monkeypatch.setattr("dtfl_private.runtime.allocator.tune_allocator", lambda: None)
    run("train", "--resume", "--out", killed)
    assert "note: going on after round " in capsys.readouterr().out
    run("train", *SMALL, "--out", whole)
    assert rounds_of(killed) == rounds_of(whole)
    assert (killed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert [path.name for path in sorted((killed / "checkpoint").iterdir())] == ["round-000015", "round-000016"]
