"""The compare command from start to end."""

import json
import re
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from dtfl_private.cli.main import main
from dtfl_private.report.comparison import written_files
from dtfl_private.report.tables.comparison import COLUMNS


@pytest.fixture
def two(write_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(Path("a"), [0.5, 0.8], target_accuracy=0.7)
    write_run(Path("b"), [0.6, 0.7], target_accuracy=0.7, method="fedavg", round_s=40.0)


@pytest.mark.usefixtures("two")
def test_compare_shows_a_table_and_leaves_json_and_pictures(dtfl, tmp_path):
    status, out, err = dtfl("compare", "a", "b")
    assert (status, err) == (0, "")
    assert re.search(r"dtfl +1 +0\.8000 +0\.8000 +1 of 1 +2 +16 +5x", out)
    assert "Speed-up against fedavg" in out
    assert {path.name for path in (tmp_path / "comparison").iterdir()} == {
        *("compare.json", "accuracy.png", "time-to-target.png"),
    }
    runs = json.loads((tmp_path / "comparison" / "compare.json").read_text())["runs"]
    assert [(run["run"], run["time_to_target_s"]) for run in runs] == [("a", 16.0), ("b", 80.0)]


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "ascii"])
def test_a_table_with_intervals_is_shown_in_any_encoding(write_run, tmp_path, monkeypatch, encoding):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dtfl_private.runtime.allocator.tune_allocator", lambda: None)
    for picture in ("accuracy_picture", "target_picture"):  # nobody looks at them
        monkeypatch.setattr(written_files, picture, lambda *_: b"")
    for seed in (0, 1):
        write_run(Path(f"прогон {seed}"), [0.5 + seed / 10, 0.8], target_accuracy=0.7, seed=seed)
    out = TextIOWrapper(BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", out)
    with pytest.raises(SystemExit) as left:
        main(["compare", "прогон 0", "прогон 1", "--out", "сравнение"])
    assert left.value.code == 0
    out.flush()
    text = out.buffer.getvalue().decode(encoding)
    assert ("+/-" if encoding == "ascii" else "±") in text
    assert r"\u0441\u0440\u0430" in text
    assert Path("сравнение/compare.json").is_file()


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("option", ["--markdown", "--latex"])
def test_a_comparison_that_cannot_be_written_whole_is_not_begun(dtfl, tmp_path, option):
    status, out, err = dtfl("compare", "a", "b", option, "nowhere/table")
    assert (status, out) == (2, "")
    assert err.startswith("error: 'nowhere/table' cannot be written: there is no folder ")
    assert not (tmp_path / "comparison").exists()


@pytest.mark.usefixtures("two")
def test_pictures_may_be_svg(dtfl, tmp_path):
    status, _, err = dtfl("compare", "a", "b", "--form", "svg")
    assert (status, err) == (0, "")
    assert (tmp_path / "comparison" / "time-to-target.svg").read_text().startswith("<?xml")
    assert not list((tmp_path / "comparison").glob("*.png"))


@pytest.mark.usefixtures("two")
@pytest.mark.usefixtures("no_comparison_pictures")
def test_markdown_and_latex_go_to_files_or_to_standard_output(dtfl, tmp_path):
    status, out, err = dtfl("compare", "a", "b", "--out", "x", "--markdown", "-", "--latex", "t.tex", "--target", "0.6")
    assert (status, err) == (0, "")
    assert out.splitlines()[2] == "| " + " | ".join(COLUMNS) + " |"
    assert r"\toprule" in (tmp_path / "t.tex").read_text()


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("compare", "no runs to compare"),
        ("compare a nowhere", "'nowhere' is no run with a finished round"),
        ("compare a b --baseline fedavgg", "unknown baseline 'fedavgg': did you mean 'fedavg'?"),
        ("compare a b --target 0", "Invalid value for '--target'"),
        ("compare a b --out a/config.toml", "folder 'a/config.toml' cannot be made"),
        ("sweep nothing.toml", "preset 'nothing.toml' does not exist"),
        ("sweep a/config.toml", "unknown key in a/config.toml: "),
    ],
)
def test_wrong_input_is_answered_in_one_line_and_writes_nothing(dtfl, tmp_path, arguments, said):
    before = sorted(tmp_path.rglob("*"))
    status, out, err = dtfl(*arguments.split())
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert said in err
    assert err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
