"""Runs that are interrupted, fail or are there already, and --resume."""

import json

import pytest
from command_line import SMALL, content, same_run

from dtfl_private.runtime.in_process import InProcess


def test_an_existing_run_is_neither_overwritten_nor_resumed_as_another(dtfl, tmp_path):
    assert dtfl("train", *SMALL, "--rounds", 1, "--out", "run").status == 0
    before = content(tmp_path)
    answer = dtfl("train", *SMALL, "--rounds", 1, "--out", "run")
    assert (answer.status, answer.out) == (2, "")
    assert answer.err == "error: run folder 'run' exists: add --resume to go on with it, or choose another --out\n"
    answer = dtfl("train", "--resume", "--out", "run", "--lr", "0.5", "--tiers", "2")
    assert (answer.status, answer.out) == (2, "")
    assert answer.err.startswith("error: run folder 'run' has another configuration (tiers: 4 -> 2; lr: 0.001 -> 0.5)")
    assert content(tmp_path) == before
    (tmp_path / "run" / "config.toml").write_text("rounds = 'x'")
    assert dtfl("train", "--resume", "--out", "run").err.startswith("error: rounds 'x' is refused")


@pytest.fixture
def interrupted(dtfl, monkeypatch):
    """Start a run of four rounds and press Ctrl-C when client 1 is to train in round 3."""
    train = InProcess.train

    def press(executor, tasks, weights):
        for task in tasks:
            if (task.round, task.client) == (3, 1):
                raise KeyboardInterrupt
            yield from train(executor, [task], weights)

    with monkeypatch.context() as patch:
        patch.setattr(InProcess, "train", press)
        return dtfl("train", *SMALL, "--rounds", 4, "--out", "a run")


def test_after_ctrl_c_it_says_how_to_go_on_and_that_ends_like_the_uninterrupted_run(dtfl, interrupted, tmp_path):
    assert interrupted.status == 1
    assert interrupted.err == (
        "error: interrupted; 2 finished rounds are safe in a run; "
        "go on with: dtfl-private train --resume --out 'a run'\n"
    )
    assert interrupted.out.count("\nround ") == 2
    answer = dtfl("train", "--resume", "--out", "a run")
    assert (answer.status, answer.err) == (0, "")
    assert "note: going on after round 2 of 4\n" in answer.out
    assert dtfl("train", *SMALL, "--rounds", 4, "--out", "whole").status == 0
    assert same_run(tmp_path / "a run", tmp_path / "whole")
    answer = dtfl("train", "--resume", "--out", "a run", "--workers", 2)
    assert answer.status == 0
    assert "note: going on after round 4 of 4\n" in answer.out
    assert same_run(tmp_path / "a run", tmp_path / "whole")


def test_a_torn_line_and_a_damaged_checkpoint_are_said(dtfl, interrupted, tmp_path):
    assert interrupted.status == 1
    run = tmp_path / "a run"
    with (run / "rounds.jsonl").open("a") as file:
        file.write('{"round": 3, "test_acc')
    (run / "checkpoint" / "round-000002" / "manifest.json").unlink()
    answer = dtfl("train", "--resume", "--out", "a run")
    assert answer.status == 0
    assert "note: the last line of rounds.jsonl was torn and is dropped\n" in answer.out
    assert "note: checkpoint round-000002 is damaged and was not loaded: " in answer.out
    assert "note: going on after round 1 of 4\n" in answer.out
    assert [json.loads(line)["round"] for line in (run / "rounds.jsonl").read_text().splitlines()] == [1, 2, 3, 4]


def test_without_an_intact_checkpoint_the_run_fails_with_status_1(dtfl, interrupted, tmp_path):
    assert interrupted.status == 1
    for path in (tmp_path / "a run" / "checkpoint").glob("*/state.json"):
        path.write_text("")
    before = content(tmp_path)
    answer = dtfl("train", "--resume", "--out", "a run")
    assert answer.status == 1
    assert answer.err.startswith("error: no intact checkpoint is left in a run/checkpoint: ")
    assert answer.err.count("\n") == 1
    assert content(tmp_path) == before


def test_a_run_killed_before_its_folder_was_there_is_started_and_that_is_said(dtfl):
    answer = dtfl("train", *SMALL, "--rounds", 1, "--resume", "--out", "run")
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.startswith("note: no checkpoint yet: starting from the beginning\n")
    assert "\nround 1/1  accuracy" in answer.out


def test_ctrl_c_before_the_run_began_leaves_nothing(dtfl, monkeypatch, tmp_path):
    def press(*_args, **_settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("dtfl_private.experiments.partition.load_dataset", press)
    answer = dtfl("train", "--out", "run")
    assert answer.status == 1
    assert answer.err == "error: interrupted before the run began: nothing was written\n"
    assert list(tmp_path.iterdir()) == []
