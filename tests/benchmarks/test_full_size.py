"""The benchmark at full size, in a tiny size on the CPU."""

import json

import pytest

from benchmarks import full_size
from benchmarks.full_size import Contest, Lap, Pace, rounds_that_fit

METHODS = "dtfl-shared,fedavg"
TINY = ["--size", "tiny", "--device", "cpu", "--only", METHODS, "--seconds", "1000"]


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        full_size.run(list(arguments))
    return end.value.code


def accuracies(folder):
    methods = json.loads((folder / "results.json").read_text())["methods"]
    return {name: [one["test_accuracy"] for one in found["rounds"]] for name, found in methods.items()}


def test_a_lap_has_the_rounds_that_fit_into_a_share_of_the_time():
    paces = [Pace(start_s=5, round_s=6), Pace(start_s=5, round_s=4)]
    assert rounds_that_fit(100, paces) == 7  # 0.85 * 100 - 10 seconds for rounds of 10 seconds
    assert rounds_that_fit(23, paces) == 0


def test_a_pace_leaves_the_start_out_of_the_rounds():
    lap = Lap(until=3, deadline_s=0, on_round=print, begun_s=10.0, ended_s=[19.0, 22.0, 25.0], computed_s=[4.0, 2.5])
    assert lap.pace == Pace(start_s=5.0, round_s=3.0)
    first = Lap(until=1, deadline_s=0, on_round=print, begun_s=10.0, ended_s=[19.0], computed_s=[4.0])
    assert first.pace == Pace(start_s=5.0, round_s=4.0)


def test_an_interrupted_call_goes_on_and_leaves_what_an_uninterrupted_one_leaves(tmp_path, capsys, monkeypatch):
    assert run(*TINY, "--rounds", "2", "--out", str(tmp_path / "whole")) == 0
    whole = accuracies(tmp_path / "whole")
    assert {name: len(found) for name, found in whole.items()} == {"dtfl-shared": 2, "fedavg": 2}
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" |")[0] for line in lines if line.startswith("| ")][2:] == ["| dtfl-shared", "| fedavg"]
    assert any("accuracy after 2 rounds" in line for line in lines)

    finished = Contest._finished

    def killed(contest, method, record):
        finished(contest, method, record)
        if method == "fedavg":
            raise KeyboardInterrupt

    monkeypatch.setattr(Contest, "_finished", killed)
    assert run(*TINY, "--rounds", "2", "--out", str(tmp_path / "again")) == 1  # click's answer to Ctrl-C
    assert {name: len(found) for name, found in accuracies(tmp_path / "again").items()} == {
        "dtfl-shared": 1,
        "fedavg": 1,
    }
    monkeypatch.setattr(Contest, "_finished", finished)
    assert run(*TINY, "--rounds", "2", "--out", str(tmp_path / "again")) == 0
    assert accuracies(tmp_path / "again") == whole
    capsys.readouterr()
    assert run("--table", str(tmp_path / "again" / "results.json")) == 0
    assert "digits (200 training images), 10 clients, batch 10, bf16, seed 0, n = 1" in capsys.readouterr().out


def test_a_method_that_fails_does_not_end_the_others(tmp_path, capsys, monkeypatch):
    train = full_size.train

    def broken(config, **arguments):
        if config.method == "dtfl-shared":
            raise RuntimeError("CUDA error: an illegal memory access\nsecond line")
        return train(config, **arguments)

    monkeypatch.setattr(full_size, "train", broken)
    assert run(*TINY, "--rounds", "1", "--out", str(tmp_path)) == 1
    assert list(accuracies(tmp_path)) == ["dtfl-shared", "fedavg"]
    assert len(accuracies(tmp_path)["fedavg"]) == 1
    assert (
        "dtfl-shared failed: RuntimeError: CUDA error: an illegal memory access second line" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "dtfl,fedavgg"], "--only fedavgg: choose among dtfl, dtfl-full"),
        (["--device", "cuda"], "device 'cuda' is not available here"),
        (["--table", "nowhere.json"], "nowhere.json cannot be read"),
    ],
)
def test_wrong_input_is_answered_in_one_line(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert run("--out", str(tmp_path / "out"), *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")
    assert not (tmp_path / "out").exists()
