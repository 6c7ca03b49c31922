"""Names of files and values of configurations reach terminal, pictures and reports in a form that steers nothing."""

import json
import os
import re

import pytest
from PIL import Image

from dtfl_private.experiments.config.toml_files import to_toml
from dtfl_private.experiments.config.train_config import TrainConfig

# ESC, a script that needs a font, bytes that are no UTF-8, markup, text that turns round, 200 characters.
NAMES = (b"esc\x1b]0;evil\x07\x1b[31m", "猫".encode(), b"\xff\xfe", b"[red]x", "a\u202eb".encode(), b"x" * 200)


@pytest.fixture
def tree(tmp_path):
    """One class for each name, two images each."""
    for label, name in enumerate(NAMES):
        folder = tmp_path / "tree" / os.fsdecode(name)
        folder.mkdir(parents=True)
        for number in range(2):
            Image.new("L", (8, 8), 20 * label + number).save(folder / f"{number}.png")
    return tmp_path / "tree"


def test_class_folders_of_any_name_are_shown_and_drawn(dtfl, tree, tmp_path):
    data = ("--dataset", "image-folder", "--data-dir", tree, "--clients", 1)
    answer = dtfl("partition", *data, "--plot", tmp_path / "p.png", "--json", tmp_path / "p.json")
    assert answer.status == 0
    shown = " ".join(answer.out.split())
    assert r"esc\x1b]0;evil\x07\x1b[31m" in shown
    assert "[red]x" in shown
    assert "猫" in shown
    assert "x" * 60 not in shown
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert len(json.loads((tmp_path / "p.json").read_text())["classes"]) == len(NAMES)


def test_train_prints_the_classes(dtfl, tree, tmp_path):
    data = ("--dataset", "image-folder", "--data-dir", tree, "--clients", 1, "--workers", 1)
    small = ("--model", "he-cnn", "--rounds", 1, "--batch-size", 2, "--out", tmp_path / "run")
    answer = dtfl("train", *data, *small)
    assert answer.status == 0
    assert r"note: 6 classes: [red]x, a\u202eb, esc\x1b]0;evil\x07\x1b[31m, " in answer.out


def test_values_of_a_run_of_another_party_are_shown_as_they_are(dtfl, write_run, tmp_path):
    run = write_run(tmp_path / "\x1b[31mrun", [0.5], profiles=[profile("\x1b]0;evil\x07")])
    other = write_run(tmp_path / "other", [0.6], profiles=[profile("[red]x[/red]")])
    answer = dtfl("compare", run, other, "--apart", "--out", tmp_path / "out", "--markdown", "-")
    assert answer.status == 0
    assert r"\\x1b\]0;evil\\x07" in answer.out  # Markdown, in which a backslash hides what follows
    for path in (tmp_path / "out").iterdir():
        if path.suffix != ".png":
            assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", path.read_text())


def profile(name: str) -> dict[str, object]:
    return {"name": name, "cpus": 1.0, "up_mbit_s": 1.0, "down_mbit_s": 1.0}


def test_long_values_are_cut_in_errors(dtfl, tmp_path):
    for line in (
        ("train", "--dataset", "x" * 10_000),
        ("train", "--rounds", "x" * 10_000),
        ("train", "--partition", "dirichlet:" + "9" * 10_000),
        ("train", "x" * 10_000),
        ("y" * 10_000,),
        ("list", "z" * 10_000),
        ("audit", tmp_path, "--fail-if", "q" * 10_000),
        ("train", "--no-such-option" + "q" * 10_000),
    ):
        answer = dtfl(*line)
        assert answer.status == 2
        assert len(answer.error) < 1000


@pytest.mark.parametrize("command", [("train",), ("sweep", "p.toml"), ("compare", "run")])
def test_an_empty_output_is_refused_and_a_home_folder_is_found(dtfl, write_run, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "p.toml").write_text('title="t"\nseeds=[0]\n[[grid]]\nmethod=["fedavg"]\n[sizes.small]\nrounds=1\n')
    write_run(tmp_path / "run", [0.5])
    before = sorted(tmp_path.iterdir())
    assert dtfl(*command, "--out", "").error.startswith("'' is refused as the name of an output")
    assert sorted(tmp_path.iterdir()) == before
    if command[0] == "compare":
        assert dtfl(*command, "--out", "~/x").status == 0
        assert (tmp_path / "home" / "x" / "compare.json").is_file()
        assert not (tmp_path / "~").exists()


def test_a_configuration_with_a_byte_order_mark_is_read(dtfl, tmp_path):
    (tmp_path / "c.toml").write_bytes(b"\xef\xbb\xbf" + to_toml(TrainConfig()).encode() + b"rouns = 3\n")
    assert "'rouns': did you mean 'rounds'?" in dtfl("train", tmp_path / "c.toml").error
