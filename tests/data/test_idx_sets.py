"""MNIST and EMNIST: what they share with Fashion-MNIST is tested there, here what is their own."""

import gzip
import struct
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torchvision

from dtfl_private.data import emnist, mnist
from dtfl_private.data.dataset import load_dataset
from dtfl_private.errors import InputError

RNG = np.random.default_rng(0)
SIZES = {"byclass": 62, "bymerge": 47, "balanced": 47, "letters": 26, "digits": 10, "mnist": 10}


def write(folder: Path, name: str, array: np.ndarray) -> None:
    content = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.gz").write_bytes(gzip.compress(content, 1))


def write_set(folder: Path, prefix: str, test: str, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Write the four files of a set with the same labels in training and test; return the images."""
    images = {}
    for part in ("train", test):
        images[part] = RNG.integers(0, 256, (len(labels), 28, 28), dtype=np.uint8)
        write(folder, f"{prefix}{part}-images-idx3-ubyte", images[part])
        write(folder, f"{prefix}{part}-labels-idx1-ubyte", labels.astype(np.uint8))
    return images


@pytest.mark.parametrize("below", [".", "MNIST/raw"])
def test_mnist_is_read_as_it_is_written(tmp_path, below):
    images = write_set(tmp_path / below, "", "t10k", np.arange(10))
    dataset = load_dataset("mnist", data_dir=tmp_path, download=False)
    np.testing.assert_array_equal(dataset.train_images[:, 0].numpy(), images["train"])
    np.testing.assert_array_equal(dataset.test_images[:, 0].numpy(), images["t10k"])
    assert dataset.train_labels.tolist() == dataset.test_labels.tolist() == list(range(10))
    assert dataset.classes == tuple("0123456789")
    assert mnist.FACTS.look(tmp_path) == str(tmp_path / below)


@pytest.mark.parametrize(("name", "title"), [("mnist", "MNIST"), ("emnist", "EMNIST")])
def test_absent_files_are_answered_by_how_to_get_them(tmp_path, name, title):
    with pytest.raises(InputError, match=f"^{title} needs --data-dir: .*--download"):
        load_dataset(name, data_dir=None, download=False)
    with pytest.raises(InputError, match=f"^no {title} in {tmp_path}: .*--download"):
        load_dataset(name, data_dir=tmp_path, download=False)
    with pytest.raises(InputError, match="--download needs --data-dir"):
        load_dataset(name, data_dir=None, download=True)


@pytest.mark.parametrize(("name", "kind"), [("mnist", "MNIST"), ("emnist:digits", "EMNIST")])
def test_a_failed_download_is_one_line(tmp_path, monkeypatch, name, kind):
    def fetch(root: str, **_: object) -> None:
        raise URLError(f"no route from {root}")

    monkeypatch.setattr(torchvision.datasets, kind, fetch)
    with pytest.raises(InputError, match=f"^{kind} could not be downloaded to {tmp_path}: .*no route"):
        load_dataset(name, data_dir=tmp_path, download=True)


@pytest.mark.parametrize("split", SIZES)
@pytest.mark.parametrize("below", [".", "gzip", "EMNIST/raw"])
def test_every_split_of_emnist_is_turned_upright_and_labelled_from_zero(tmp_path, split, below):
    first = 1 if split == "letters" else 0
    labels = np.arange(SIZES[split]) + first
    images = write_set(tmp_path / below, f"emnist-{split}-", "test", labels)
    dataset = load_dataset(f"emnist:{split}", data_dir=tmp_path, download=False)
    # In the files rows and columns are exchanged.
    np.testing.assert_array_equal(dataset.train_images[:, 0].numpy(), images["train"].transpose(0, 2, 1))
    np.testing.assert_array_equal(dataset.test_images[:, 0].numpy(), images["test"].transpose(0, 2, 1))
    assert dataset.train_images.is_contiguous()
    assert dataset.train_labels.tolist() == list(range(SIZES[split]))
    assert len(dataset.classes) == SIZES[split]
    assert emnist.FACTS.look(tmp_path) == f"{tmp_path / below}: {split}"


@pytest.mark.parametrize("split", SIZES)
def test_the_classes_of_emnist_are_torchvisions(split):
    expected = [name for name in torchvision.datasets.EMNIST.classes_split_dict[split] if name != "N/A"]
    assert sorted(emnist.CLASSES[split]) == sorted(expected)


def test_the_labels_of_emnist_mean_digits_then_capitals_then_small_letters():
    # emnist-byclass-mapping.txt and emnist-bymerge-mapping.txt: 0 is 48 ("0"), 10 is 65 ("A"), 36 is 97 ("a").
    assert [emnist.CLASSES["byclass"][label] for label in (0, 9, 10, 35, 36, 61)] == list("09AZaz")
    assert emnist.CLASSES["bymerge"][36:] == "abdefghnqrt"
    assert emnist.CLASSES["balanced"] == emnist.CLASSES["bymerge"]


def test_letters_of_another_numbering_are_refused(tmp_path):
    write_set(tmp_path, "emnist-letters-", "test", np.arange(26))
    with pytest.raises(InputError, match=r"split letters has a label 0, expected 1\.\.26"):
        load_dataset("emnist:letters", data_dir=tmp_path, download=False)


def test_another_splits_files_do_not_stand_in(tmp_path):
    write_set(tmp_path, "emnist-digits-", "test", np.arange(10))
    with pytest.raises(InputError, match="no EMNIST in"):
        load_dataset("emnist:mnist", data_dir=tmp_path, download=False)
    with pytest.raises(InputError, match="split=letter is refused"):
        load_dataset("emnist:letter", data_dir=tmp_path, download=False)
