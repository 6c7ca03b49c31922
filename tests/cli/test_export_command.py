"""`export`: the file, and what is said of its use."""

import pytest
from command_line import SMALL


@pytest.fixture
def run(dtfl, tmp_path):
    assert dtfl("train", *SMALL, "--out", "run").status == 0
    return tmp_path / "run"


def test_an_export_says_how_to_use_it(dtfl, run):
    status, out, err = dtfl("export", "run", "--format", "state-dict")
    assert (status, err) == (0, "")
    written, to_use, *lines = out.splitlines()
    assert written == "written: run/model.state-dict.safetensors"
    assert to_use == "to use it:"
    assert len(lines) == 3
    names = {"images": __import__("torch").zeros(1, 1, 8, 8)}
    exec("\n".join(line.strip() for line in lines), names)
    assert names["logits"].shape == (1, 10)
    assert (run / "model.state-dict.safetensors").is_file()


def test_of_torchscript_it_is_said_that_it_ends(dtfl, run):
    status, out, _ = dtfl("export", "run", "--format", "torchscript", "--out", "mine.pt")
    assert status == 0
    assert "note: torch calls TorchScript deprecated: for new uses take --format onnx" in out
    assert (run.parent / "mine.pt").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "Missing option '--format'"),
        (["run", "--format", "onix"], "Invalid value for '--format'"),
        (["run", "--format", "state-dict", "--out", "gone/a"], "there is no folder"),
        (["run", "--format", "state-dict", "--out", ""], "'' is refused as the name of an output"),
        (["run", "--format", "state-dict", "--which", "best"], "this run kept no best round's network"),
        (["gone", "--format", "onnx"], "'gone' is not a run folder"),
    ],
    ids=str,
)
def test_wrong_input_is_answered_in_one_line(dtfl, run, arguments, said):
    before = sorted(run.parent.rglob("*"))
    status, out, err = dtfl("export", *arguments)
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert sorted(run.parent.rglob("*")) == before
