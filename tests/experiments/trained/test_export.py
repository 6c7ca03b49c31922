import json
import os
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.torch
import torch

from dtfl_private.data.digits import load_digits
from dtfl_private.errors import InputError, RunError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.trained import onnx_document
from dtfl_private.experiments.trained.export import FILES, export_model, how_to_use, remarks
from dtfl_private.experiments.trained.trained_model import load_model

IMAGES = load_digits(size=8).test_images[:7].float() / 255


@pytest.fixture
def expected(digits_run):
    with torch.no_grad():
        return digits_run.model()(IMAGES).numpy()


@pytest.fixture(scope="module")
def exported(digits_run):
    return {form: digits_run.export(form) for form in FILES}


def test_by_default_each_format_has_a_file_in_the_run_folder(exported, digits_run):
    assert {path.parent for path in exported.values()} == {digits_run.folder.path}
    assert {form: path.name for form, path in exported.items()} == FILES


def test_onnxruntime_gives_the_same_logits_for_any_number_of_images(exported, expected):
    session = onnxruntime.InferenceSession(exported["onnx"])
    ((name, shape),) = [(given.name, given.shape) for given in session.get_inputs()]
    assert (name, shape[1:]) == ("images", [1, 8, 8])
    for count in (1, 2, 7):
        (logits,) = session.run(None, {"images": IMAGES[:count].numpy()})
        np.testing.assert_allclose(logits, expected[:count], atol=1e-5)


def test_an_onnx_file_names_the_classes_and_nothing_of_this_machine(exported):
    told = onnxruntime.InferenceSession(exported["onnx"]).get_modelmeta().custom_metadata_map
    assert json.loads(told["classes"]) == [str(digit) for digit in range(10)]
    assert json.loads(told["dataset"])["input_shape"] == [1, 8, 8]
    data = exported["onnx"].read_bytes()
    onnx.checker.check_model(onnx.load_from_string(data))
    assert b".py" not in data
    assert b"/home" not in data


def test_the_same_network_makes_the_same_onnx_file(exported, digits_run, tmp_path):
    again = digits_run.export("onnx", out=tmp_path / "again.onnx")
    assert again.read_bytes() == exported["onnx"].read_bytes()


def test_torchscript_gives_the_same_logits_and_names_the_classes(exported, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch.jit's own, of its deprecation
        files = {"dataset.json": ""}
        network = torch.jit.load(exported["torchscript"], _extra_files=files)
        for count in (1, 2, 7):
            logits = network(IMAGES[:count]).detach().numpy()
            np.testing.assert_allclose(logits, expected[:count], atol=1e-5)
    assert json.loads(files["dataset.json"])["classes"] == [str(digit) for digit in range(10)]


def test_the_keys_of_a_state_dict_load_into_the_network(exported, digits_run, expected):
    weights = safetensors.torch.load_file(exported["state-dict"])
    model = digits_run.model()
    for parameter in model.parameters():
        parameter.data.zero_()
    model.network.load_state_dict(weights)
    with torch.no_grad():
        np.testing.assert_array_equal(model(IMAGES).numpy(), expected)
        np.testing.assert_array_equal(load_model(exported["state-dict"])(IMAGES).numpy(), expected)


@pytest.mark.parametrize("form", FILES)
def test_what_is_said_of_its_use_works(exported, digits_run, expected, form):
    lines = how_to_use(exported[form], form, digits_run.data)
    assert len(lines) == 3
    names = {"images": IMAGES.numpy() if form == "onnx" else IMAGES}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", FutureWarning)
        exec("\n".join(lines), names)
    np.testing.assert_allclose(np.asarray(names["logits"]), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("precision", "form", "lines"),
    [("bf16", "onnx", 1), ("fp32", "onnx", 0), ("fp32", "torchscript", 1), ("fp64", "state-dict", 0)],
)
def test_of_rounding_and_of_torchscripts_end_the_user_is_told(precision, form, lines):
    assert len(remarks(form, TrainConfig(precision=precision))) == lines


def test_what_cannot_be_written_is_refused_before_any_work(digits_run, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="unknown format 'onx': did you mean 'onnx'"):
        digits_run.export("onx")
    with pytest.raises(InputError, match="there is no folder"):
        digits_run.export("onnx", out=tmp_path / "gone" / "a.onnx")
    with pytest.raises(InputError, match="it is a folder"):
        digits_run.export("onnx", out=tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(InputError, match=r"needs the packages onnx and onnxscript: .*dtfl-private\[onnx\]"):
        digits_run.export("onnx", out=tmp_path / "a.onnx")
    monkeypatch.undo()
    monkeypatch.setattr(onnx_document, "LARGEST_ONNX_BYTES", 1000)
    with pytest.raises(InputError, match=r"an ONNX file 2 at most: use --format state-dict"):
        digits_run.export("onnx", out=tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", FILES)
def test_a_pipe_is_not_replaced_by_an_export(digits_run, tmp_path, form):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="it is a pipe, device or socket, expected a file"):
        digits_run.export(form, out=tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("form", FILES)
def test_weights_that_are_no_numbers_are_not_exported(digits_run, tmp_path, form):
    model = digits_run.model()
    next(model.parameters()).data[0] = float("nan")
    with pytest.raises(RunError, match="the network's weights are no finite numbers"):
        export_model(model, tmp_path, form, None)
    assert list(tmp_path.iterdir()) == []


def test_an_export_is_not_written_through_a_link(digits_run, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("kept")
    (tmp_path / "a.safetensors").symlink_to(elsewhere)
    digits_run.export("state-dict", out=tmp_path / "a.safetensors")
    assert elsewhere.read_text() == "kept"
    assert not (tmp_path / "a.safetensors").is_symlink()
