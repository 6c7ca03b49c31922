import json

import pytest
import safetensors.torch
import torch

from dtfl_private.errors import InputError, RunError
from dtfl_private.experiments import train_loop as training
from dtfl_private.experiments.config.toml_files import read_run_config


def test_the_folder_holds_the_whole_run(run_tiny, tmp_path):
    run = run_tiny(tmp_path / "run", target_accuracy=0.1)
    assert sorted(path.name for path in run.folder.path.iterdir()) == [
        *("README.md", "checkpoint", "config.toml", "dataset.json", "environment.json", "model.safetensors"),
        *("rounds.jsonl", "summary.json", "test.png", "training.png"),
    ]
    lines = [json.loads(line) for line in run.folder.rounds.read_text().splitlines()]
    assert lines == list(run.records)
    assert [line["round"] for line in lines] == [1, 2, 3]
    assert json.loads(run.folder.summary.read_text()) == run.summary
    assert run.summary["last_round"] == lines[-1]
    assert run.summary["finished"] is True
    assert read_run_config(run.folder) == run.config
    model = safetensors.torch.load_file(run.folder.model)
    last = safetensors.torch.load_file(run.folder.checkpoint / "round-000003" / "state.safetensors")
    assert all(torch.equal(tensor, last[f"model/{name}"]) for name, tensor in model.items())


def test_a_disk_that_refuses_ends_the_run_in_one_line_and_it_can_be_resumed(run_tiny, tmp_path, monkeypatch):
    def full(*_args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(training, "save_checkpoint", full)
        with pytest.raises(RunError, match=r"cannot be written: .*No space left on device; mend that, then --resume"):
            run_tiny(tmp_path / "run", rounds=1)
    assert run_tiny(tmp_path / "run", resume=True, rounds=1).summary["finished"]


def test_observers_need_one_worker_and_that_is_known_before_anything_is_written(run_tiny, tmp_path):
    with pytest.raises(InputError, match=r"observers see messages .*workers=1"):
        run_tiny(tmp_path / "run", objects={"observers": [print]}, workers=2)
    assert list(tmp_path.iterdir()) == []
