"""Commands on the user's own images, from start to end: what is read, what is refused, what is left on the disk."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dtfl_private.cli.main import main
from dtfl_private.experiments import train_loop as training

OPTIONS = ["--clients", "3", "--rounds", "1", "--batch-size", "4", "--workers", "1", "--data-dir", "tree"]


@pytest.fixture
def dtfl(capsys, tmp_path, monkeypatch) -> Callable[..., tuple[int, str, str]]:
    """Run a command in a folder that holds a tree of images; return exit status, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("DTFL_PRIVATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("dtfl_private.runtime.allocator.tune_allocator", lambda: None)  # of its own process
    monkeypatch.setattr(training, "plot_training", lambda *_args, **_settings: None)
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "tree" / name).mkdir(parents=True)
        for number in range(15):
            pixels = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "tree" / name / f"{number}.png")

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(list(arguments))
        out, err = capsys.readouterr()
        return left.value.code, out, err

    return run


def test_a_network_is_trained_on_a_tree_of_images(dtfl, tmp_path):
    status, _, err = dtfl("train", "--dataset", "image-folder:size=8", *OPTIONS, "--out", "run")
    assert (status, err) == (0, "")
    (line,) = (tmp_path / "run" / "rounds.jsonl").read_text().splitlines()
    assert 0 <= json.loads(line)["test_accuracy"] <= 1
    assert "image-folder:size=8,grey=False,test=0.2,by_client=False" in (tmp_path / "run" / "config.toml").read_text()
    assert len(list((tmp_path / "cache").iterdir())) == 2


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
def test_bad_images_end_in_one_line_and_leave_nothing(dtfl, tmp_path, damage, command):
    said = damage(tmp_path / "tree")
    options = OPTIONS if command == "train" else ["--clients", "3", "--data-dir", "tree", "--plot", "p.png"]
    status, out, err = dtfl(command, "--dataset", "image-folder", *options)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {said}")
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--dataset image-folder", "image-folder needs --data-dir"),
        ("--dataset cinic-10 --data-dir tree", "no CINIC-10 in tree: unpack CINIC-10.tar.gz"),
        ("--dataset ham10000 --data-dir tree", "no HAM10000 in tree: fetch HAM10000_metadata"),
        ("--dataset mnist --data-dir tree", "no MNIST in tree: "),
        ("--dataset emnist:digitz --data-dir tree", "dataset 'emnist': split=digitz is refused"),
        ("--dataset svhn --data-dir tree", "no SVHN in tree"),
        ("--dataset cifar-100 --data-dir tree", "no CIFAR-100 in tree"),
        ("--dataset image-folder:size=2 --data-dir tree", "size=2 is refused"),
        ("--dataset image-folder:test=1 --data-dir tree", "test=1 is refused"),
        ("--dataset imagefolder:siz=8 --data-dir tree", "did you mean 'size'?"),
        ("--partition natural", "partition natural needs a data set that says whose each image is"),
        ("--partition shards:800 --clients 3", "partition shards:n=800 cuts 2400 shards for 3 clients"),
        ("--plot nowhere/p.png", "'nowhere/p.png' cannot be written"),
    ],
)
def test_wrong_data_and_partitions_are_answered_in_one_line(dtfl, tmp_path, arguments, said):
    status, out, err = dtfl("partition", *arguments.split())
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert said in err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]


def test_the_partition_is_shown_drawn_and_written(dtfl, tmp_path):
    options = ["--clients", "5", "--partition", "shards:2", "--plot", "p.png", "--json", "p.json"]
    status, out, err = dtfl("partition", *options)
    assert (status, err) == (0, "")
    assert "digits, 1,437 training images, 5 clients, shards:2" in out
    assert "effective classes" in out
    assert "over 5 clients" in out
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.format == "PNG"
    written = json.loads((tmp_path / "p.json").read_text())
    assert np.array(written["counts"]).sum() == 1437
    assert written["classes"] == [str(digit) for digit in range(10)]


def test_the_counts_alone_go_to_standard_output(dtfl):
    status, out, err = dtfl("partition", "--clients", "4", "--json", "-")
    assert (status, err) == (0, "")
    counts = np.array(json.loads(out)["counts"])
    assert counts.shape == (4, 10)
    assert np.ptp(counts.sum(axis=1)) <= 1


def test_data_sets_are_listed_with_where_they_are(dtfl):
    status, out, err = dtfl("list", "datasets", "--data-dir", "tree")
    assert (status, err) == (0, "")
    flat = " ".join(out.split())
    assert "yes, tree: 2 folders" in flat
    assert "yes, in scikit-learn" in flat
    for name in ("cifar-10", "cifar-100", "cinic-10", "ham10000", "fashion-mnist", "mnist", "emnist", "svhn"):
        assert f" {name} " in flat


def test_a_data_set_of_another_package_is_listed_without_facts(dtfl, offer):
    def load(*, data_dir: Path | None, download: bool, shade: int = 3) -> None:
        """Somebody's images."""

    offer("dataset", "theirs", load)
    status, out, _ = dtfl("list", "datasets")
    assert status == 0
    assert "theirs ? ? ? ? ? shade=3 Somebody's images." in " ".join(out.split())
