"""The partition command from start to end."""

import json

import numpy as np
import pytest
from PIL import Image


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
def test_wrong_data_and_partitions_are_answered_in_one_line(in_tree, tmp_path, arguments, said):
    status, out, err = in_tree("partition", *arguments.split())
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert said in err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]


def test_the_partition_is_shown_drawn_and_written(in_tree, tmp_path):
    options = ["--clients", "5", "--partition", "shards:2", "--plot", "p.png", "--json", "p.json"]
    status, out, err = in_tree("partition", *options)
    assert (status, err) == (0, "")
    assert "digits, 1,437 training images, 5 clients, shards:2" in out
    assert "effective classes" in out
    assert "over 5 clients" in out
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.format == "PNG"
    written = json.loads((tmp_path / "p.json").read_text())
    assert np.array(written["counts"]).sum() == 1437
    assert written["classes"] == [str(digit) for digit in range(10)]


def test_the_counts_alone_go_to_standard_output(in_tree):
    status, out, err = in_tree("partition", "--clients", "4", "--json", "-")
    assert (status, err) == (0, "")
    counts = np.array(json.loads(out)["counts"])
    assert counts.shape == (4, 10)
    assert np.ptp(counts.sum(axis=1)) <= 1
