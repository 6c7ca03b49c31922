"""Training on the user's own images: what is read, what is refused, what is left on the disk."""

import json
from pathlib import Path

import pytest
from PIL import Image

OPTIONS = ["--clients", "3", "--rounds", "1", "--batch-size", "4", "--workers", "1", "--data-dir", "tree"]


def test_a_network_is_trained_on_a_tree_of_images(in_tree, tmp_path):
    status, _, err = in_tree("train", "--dataset", "image-folder:size=8", *OPTIONS, "--out", "run")
    assert (status, err) == (0, "")
    (line,) = (tmp_path / "run" / "rounds.jsonl").read_text().splitlines()
    assert 0 <= json.loads(line)["test_accuracy"] <= 1
    assert "image-folder:size=8,grey=False,test=0.2,by_client=False" in (tmp_path / "run" / "config.toml").read_text()
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize("options", [["train"], ["train", "--set", "rounds=1"], ["partition"]])
def test_a_folder_of_images_without_the_data_set_is_refused_as_nobody_would_read_it(in_tree, tmp_path, options):
    status, out, err = in_tree(*options, "--data-dir", "tree")
    assert (status, out) == (2, "")
    assert err == (
        "error: --data-dir 'tree' is not read by digits, the default data set: add --dataset, for your own images "
        "--dataset image-folder\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]


def corrupt(tree: Path) -> str:
    (tree / "dog" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    return "tree/dog/3.png cannot be read as a PNG or JPEG image"


def empty(tree: Path) -> str:
    (tree / "emu").mkdir()
    return "tree/emu holds no PNG or JPEG image"


def mixed(tree: Path) -> str:
    Image.new("RGB", (12, 13)).save(tree / "dog" / "3.png")
    return "tree/dog/3.png is 12x13 pixels, the images before it 12x12"


def deep(tree: Path) -> str:
    Image.new("I;16", (12, 12)).save(tree / "dog" / "3.png")
    return "tree/dog/3.png has 16 bits per channel, expected 8"


def printed(tree: Path) -> str:
    Image.new("CMYK", (12, 12)).save(tree / "dog" / "3.png", format="JPEG")
    return "tree/dog/3.png is a CMYK image, expected grey or RGB"


@pytest.mark.parametrize("damage", [corrupt, empty, mixed, deep, printed])
@pytest.mark.parametrize("command", ["train", "partition"])
def test_bad_images_end_in_one_line_and_leave_nothing(in_tree, tmp_path, damage, command):
    said = damage(tmp_path / "tree")
    options = OPTIONS if command == "train" else ["--clients", "3", "--data-dir", "tree", "--plot", "p.png"]
    status, out, err = in_tree(command, "--dataset", "image-folder", *options)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {said}")
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]
