import json

import pytest
import safetensors
import safetensors.torch
import torch
from records import a_record

from dtfl_private.data.description import DataDescription
from dtfl_private.experiments import train_loop as training
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.run_folder.model_file import ModelDescription
from dtfl_private.experiments.run_folder.summary import has_ended, summarise, write_results


def test_a_summary_holds_the_last_the_best_and_the_first_that_reached_the_target():
    accuracies = [0.2, 0.6, 0.9, 0.9, 0.7]
    records = [a_record(n, test_accuracy=accuracy) for n, accuracy in enumerate(accuracies, start=1)]
    summary = summarise(records, 0.6, 5)
    assert summary["rounds"] == 5
    assert summary["finished"] is True
    assert (summary["final_accuracy"], summary["best_accuracy"], summary["best_round"]) == (0.7, 0.9, 3)
    assert (summary["rounds_to_target"], summary["time_to_target_s"]) == (2, 20.0)
    assert summary["virtual_time_s"] == 50.0
    assert summary["wall_time_s"] == 1.25
    assert summary["bytes"] == {"down_weights": 5, "up_weights": 10, "up_smashed": 15, "up_labels": 20}
    assert summary["macs"] == {"client": 25, "server": 30}
    assert summary["last_round"] == records[-1]


@pytest.mark.parametrize("target", [None, 0.95])
def test_a_target_that_was_not_reached_or_not_set_has_no_time(target):
    summary = summarise([a_record(1), a_record(2)], target, 3)
    assert summary["finished"] is False
    assert summary["target_accuracy"] == target
    assert summary["rounds_to_target"] is None
    assert summary["time_to_target_s"] is None


def test_equal_results_are_equal_files(folder):
    # 20 writes: were the order of keys left to chance, all being equal would have a probability of 24^-19.
    model = {f"layer.{n}": torch.full((2, 3), float(n)) for n in range(5)}
    model["strided"] = torch.arange(12.0).view(3, 4).T
    data = DataDescription(name="digits", kind="tokens", classes=("a",), input_shape=(4,))
    of = {"model": "resnet-8", "dataset": "digits", "norm": "batch", "round": 2}
    description = ModelDescription(**of, precision="fp32", memory_format="contiguous", data=data)
    contents = set()
    for _ in range(20):
        write_results(folder, model, summarise([a_record(1)], None, 1), description)
        contents.add(folder.model.read_bytes())
    assert len(contents) == 1
    loaded = safetensors.torch.load_file(folder.model)
    assert loaded.keys() == model.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in model.items())
    with safetensors.safe_open(folder.model, "pt") as file:
        assert json.loads(file.metadata()["run"]) == description.model_dump(mode="json")
    assert json.loads(folder.summary.read_text())["rounds"] == 1


def test_a_run_has_ended_when_its_picture_is_drawn_and_not_before(run_tiny, tmp_path, monkeypatch):
    """A sweep goes on with what has not ended, and leaves alone what has."""

    def interrupt(*_args, **_settings):
        raise KeyboardInterrupt

    path = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(training, "plot_training", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_tiny(path)
    assert not has_ended(RunFolder(path=path))
    run_tiny(path, resume=True)
    assert has_ended(RunFolder(path=path))
    assert (path / "training.png").is_file()
