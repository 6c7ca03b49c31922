"""Output in encodings that lack characters."""

import sys
from io import BytesIO, TextIOWrapper

import pytest
from command_line import SMALL

from dtfl_private.cli.main import main


def test_a_run_may_have_a_name_that_the_output_cannot_show(dtfl, tmp_path, monkeypatch):
    dtfl("--version")  # goes to the empty folder
    out = TextIOWrapper(BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", out)
    with pytest.raises(SystemExit) as left:
        main(["train", *SMALL, "--rounds", "1", "--out", "прогон"])
    assert left.value.code == 0
    out.flush()
    assert r"run folder \u043f\u0440\u043e\u0433\u043e\u043d" in out.buffer.getvalue().decode("cp1252")
    assert (tmp_path / "прогон" / "model.safetensors").is_file()
