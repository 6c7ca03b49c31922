import pytest
from interrupted_runs import Notes, left_behind

from dtfl_private.errors import NonFiniteLossError
from dtfl_private.experiments.config.toml_files import read_run_config


def test_a_listener_hears_every_step_in_order(run_tiny, tmp_path):
    notes = Notes()
    run_tiny(tmp_path / "run", rounds=2, listener=notes)
    assert notes.heard == ["started", *(["planned", "trained", "trained", "trained", "finished"] * 2)]
    assert notes.notes == []


def test_a_run_that_stops_at_its_target_ends_there_and_stays_finished(run_tiny, tmp_path):
    whole = run_tiny(tmp_path / "whole", rounds=4)
    target = sorted({record["test_accuracy"] for record in whole.records})[0]
    first = next(record["round"] for record in whole.records if record["test_accuracy"] >= target)
    run = run_tiny(tmp_path / "run", rounds=4, target_accuracy=target, stop_at_target=True)
    assert run.summary["rounds"] == first < 4
    assert (run.summary["finished"], run.summary["stopped"]) == (True, f"the target accuracy {target:g} is reached")
    assert read_run_config(run.folder).stop_at_target
    before = left_behind(tmp_path / "run")
    run_tiny(tmp_path / "run", rounds=4, target_accuracy=target, stop_at_target=True, resume=True)
    assert left_behind(tmp_path / "run") == before


def test_a_loss_that_explodes_ends_the_run_and_names_the_culprit(run_tiny, tmp_path):
    path = tmp_path / "run"
    with pytest.raises(NonFiniteLossError, match=r"loss of client \d became .* in round 1"):
        run_tiny(path, lr=1e30)
    assert sorted(file.name for file in path.iterdir()) == ["config.toml", "environment.json"]
