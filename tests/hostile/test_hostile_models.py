"""Whatever a run folder of another party says of its network and its classes: one line, never a wrong prediction."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from spoiling import IN_PLACE, bytes_of, examples, json_of, refusal, refused_or_done

from dtfl_private.errors import DtflError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.load_run import load_run
from dtfl_private.experiments.train import train
from dtfl_private.experiments.trained.trained_model import load_model

IMAGES = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    config = TrainConfig(
        dataset="digits:size=8", model="he-cnn", max_train_images=40, clients=2, rounds=1, batch_size=8, device="cpu"
    )
    return train(config, out=tmp_path_factory.mktemp("good") / "run").folder.path


@pytest.fixture
def run(good, tmp_path) -> Path:
    shutil.copytree(good, tmp_path / "run")
    return tmp_path / "run"


def with_metadata(weights: bytes, change: Callable[[dict[str, str]], object]) -> bytes:
    """Return a file of weights with other metadata."""
    length = int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8 : 8 + length])
    header["__metadata__"] = change(header["__metadata__"])
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + weights[8 + length :]


def told(weights: bytes, **changes: object) -> bytes:
    """Return a file of weights that says other things of itself, and of its data by keys in ``data``."""

    def change(metadata: dict[str, str]) -> dict[str, str]:
        said = json.loads(metadata["run"])
        said["data"] |= changes.pop("data", {})
        return {"run": json.dumps({**said, **changes})}

    return with_metadata(weights, change)


@given(data=st.data())
@examples(60)
def test_spoilt_descriptions_of_data(good, count, data):
    path = good / "dataset.json"
    whole = path.read_bytes()
    spoilt = data.draw(json_of(json.loads(whole)))
    try:
        path.write_bytes(spoilt)
        count()
        run = load_run(good)
        refused_or_done(lambda: run.classes)
        # What is not as it was is not taken for it: the file of weights says the same, or the run is refused.
        if refusal(run.model) is None:
            assert run.data == load_model(good / "model.safetensors").data
    finally:
        path.write_bytes(whole)


@given(data=st.data())
@examples(60)
def test_spoilt_files_of_weights(good, tmp_path_factory, count, data):
    path = tmp_path_factory.mktemp("alone") / "model.safetensors"
    path.write_bytes(data.draw(bytes_of((good / "model.safetensors").read_bytes())))
    count()
    refused_or_done(lambda: load_model(path)(IMAGES))


@given(data=st.data())
@examples(60)
def test_weights_that_say_something_else_of_themselves(good, tmp_path_factory, count, data):
    path = tmp_path_factory.mktemp("alone") / "model.safetensors"
    whole = (good / "model.safetensors").read_bytes()
    length = int.from_bytes(whole[:8], "little")
    spoilt = data.draw(json_of(json.loads(json.loads(whole[8 : 8 + length])["__metadata__"]["run"])))
    path.write_bytes(with_metadata(whole, lambda _: {"run": spoilt.decode(errors="replace")}))
    count()
    refused_or_done(lambda: load_model(path))


MANY = [str(number) for number in range(100_000)]

CLAIMS = {
    "a class more": ({"data": {"classes": [*"0123456789", "ten"]}}, "is of another network"),
    "a class less": ({"data": {"classes": [*"012345678"]}}, "is of another network"),
    "as many classes as there may be": ({"data": {"classes": MANY}}, "is of another network"),
    "more classes than there may be": ({"data": {"classes": [*MANY, "more"]}}, "at most 100000 items"),
    "other inputs": ({"data": {"input_shape": [1, 32, 32]}}, "is of another network"),
    "colour": ({"data": {"input_shape": [3, 8, 8]}}, "1 means and 1 deviations for 3 channels"),
    "deviation 0": ({"data": {"std": [0.0]}}, "images cannot be normalised"),
    "NaN": ({"data": {"mean": [float("nan")]}}, "finite number"),
    "another network": ({"model": "resnet-8"}, "is of another network"),
    "a network that nobody has": ({"model": "resnet-9"}, "unknown model 'resnet-9'"),
    "code": ({"model": "os:system"}, "names code to run"),
    "another type": ({"precision": "fp64"}, "expected torch.float64"),
    "another norm": ({"norm": "layer"}, "norm: Input should be 'batch' or 'group'"),
    "an object": ({"model": "object:\x1b[31m"}, "was passed to train as an object"),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_wrong_claims_are_refused_in_one_line(good, tmp_path, claim, count):
    changes, said = CLAIMS[claim]
    path = tmp_path / "model.safetensors"
    path.write_bytes(told((good / "model.safetensors").read_bytes(), **json.loads(json.dumps(changes))))
    count()
    error = refusal(lambda: load_model(path))
    assert isinstance(error, DtflError)
    assert said in str(error)
    assert str(error).isprintable()


def test_a_run_whose_files_disagree_is_refused(run, dtfl):
    for changes in ({"std": [0.5]}, {"classes": [*"9876543210"]}):
        description = json.loads((run / "dataset.json").read_text())
        (run / "dataset.json").write_text(json.dumps({**description, **changes}))
        answer = dtfl("export", run, "--format", "state-dict")
        assert answer.status == 1
        assert "are of different runs" in answer.error
        (run / "dataset.json").write_text(json.dumps(description))


def test_weights_that_are_no_numbers_predict_nothing(run, dtfl, tmp_path):
    from PIL import Image

    whole = (run / "model.safetensors").read_bytes()
    tensors = {name: torch.full_like(tensor, torch.nan) for name, tensor in safetensors.torch.load(whole).items()}
    length = int.from_bytes(whole[:8], "little")
    metadata = json.loads(whole[8 : 8 + length])["__metadata__"]
    (run / "model.safetensors").write_bytes(safetensors.torch.save(tensors, metadata=metadata))
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    answer = dtfl("predict", run, tmp_path / "a.png")
    assert answer.status == 1
    assert "are no finite numbers" in answer.error


@pytest.mark.parametrize("file", ["dataset.json", "model.safetensors"])
@pytest.mark.parametrize("kind", IN_PLACE)
def test_something_else_in_the_place_of_a_file(run, tmp_path, dtfl, file, kind, count):
    (run / file).unlink()
    IN_PLACE[kind](run / file)
    (tmp_path / "new").mkdir()
    count()
    assert dtfl("predict", run, tmp_path / "new").status in (1, 2)
    assert dtfl("export", run, "--format", "state-dict").status in (1, 2)
