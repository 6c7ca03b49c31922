import gzip
import struct
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torchvision

from dtfl_private.data import fashion_mnist
from dtfl_private.data.dataset import load_dataset
from dtfl_private.data.fashion_mnist import load_fashion_mnist
from dtfl_private.errors import InputError

RNG = np.random.default_rng(0)
ARRAYS = {
    "train-images-idx3-ubyte": RNG.integers(0, 256, (20, 28, 28), dtype=np.uint8),
    "train-labels-idx1-ubyte": np.arange(20, dtype=np.uint8) % 10,
    "t10k-images-idx3-ubyte": RNG.integers(0, 256, (10, 28, 28), dtype=np.uint8),
    "t10k-labels-idx1-ubyte": np.arange(10, dtype=np.uint8)[::-1].copy(),
}


def write_file(folder: Path, name: str, array: np.ndarray, *, packed: bool = True) -> Path:
    content = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    path = folder / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(content) if packed else content)
    return path


def write_all(folder: Path, *, packed: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in ARRAYS.items():
        write_file(folder, name, array, packed=packed)
    return folder


def assert_is_what_was_written(dataset):
    np.testing.assert_array_equal(dataset.train_images[:, 0].numpy(), ARRAYS["train-images-idx3-ubyte"])
    np.testing.assert_array_equal(dataset.train_labels.numpy(), ARRAYS["train-labels-idx1-ubyte"])
    np.testing.assert_array_equal(dataset.test_images[:, 0].numpy(), ARRAYS["t10k-images-idx3-ubyte"])
    np.testing.assert_array_equal(dataset.test_labels.numpy(), ARRAYS["t10k-labels-idx1-ubyte"])
    assert dataset.input_shape == (1, 28, 28)
    assert len(dataset.classes) == 10


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("below", [".", "FashionMNIST/raw"])
def test_the_files_are_found_in_the_folder_or_where_torchvision_puts_them(tmp_path, below, packed):
    folder = write_all(tmp_path / below, packed=packed)
    dataset = load_dataset("fashion-mnist", data_dir=tmp_path, download=False)
    assert_is_what_was_written(dataset)
    assert dataset.source.endswith(str(folder))


def test_debians_folder_is_the_default(tmp_path, monkeypatch):
    assert Path("/usr/share/datasets/fashion-mnist") == fashion_mnist.DEBIAN_FOLDER
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", write_all(tmp_path))
    assert_is_what_was_written(load_fashion_mnist())


@pytest.mark.parametrize("name", ARRAYS)
def test_a_missing_file_is_named(tmp_path, name):
    (write_all(tmp_path) / f"{name}.gz").unlink()
    with pytest.raises(InputError) as refusal:
        load_fashion_mnist(data_dir=tmp_path)
    assert f"{tmp_path} has no {name}[.gz]" in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("train-labels-idx1-ubyte", np.zeros(19, np.uint8), "holds 20 images, train-labels-idx1-ubyte.gz 19 labels"),
        ("t10k-images-idx3-ubyte", np.zeros((11, 28, 28), np.uint8), "holds 11 images, t10k-labels-idx1-ubyte.gz 10"),
        ("train-images-idx3-ubyte", np.zeros((20, 28, 27), np.uint8), "images of 28x27 pixels, expected 28x28"),
        ("t10k-images-idx3-ubyte", np.zeros((10, 32, 28), np.uint8), "images of 32x28 pixels, expected 28x28"),
        ("t10k-labels-idx1-ubyte", np.full(10, 10, np.uint8), "fashion-mnist: test labels must lie in 0..9"),
        ("train-images-idx3-ubyte", np.zeros(20, np.uint8), "train-images-idx3-ubyte.gz is damaged"),
    ],
)
def test_files_that_do_not_fit_together_are_refused(tmp_path, name, array, message):
    write_file(write_all(tmp_path), name, array)
    with pytest.raises(InputError) as refusal:
        load_fashion_mnist(data_dir=tmp_path)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("below", ["nowhere", "."])
def test_a_folder_without_the_files_is_answered_by_how_to_get_them(tmp_path, below):
    with pytest.raises(InputError) as refusal:
        load_fashion_mnist(data_dir=tmp_path / below)
    for help_text in (str(tmp_path / below), "dataset-fashion-mnist", "--data-dir", "--download"):
        assert help_text in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_download_needs_a_folder():
    with pytest.raises(InputError, match="--download needs --data-dir"):
        load_fashion_mnist(download=True)


def test_missing_files_are_downloaded_by_torchvision(tmp_path, monkeypatch):
    asked = []

    def fetch(root: str, *, download: bool) -> None:
        asked.append((root, download))
        write_all(Path(root, "FashionMNIST", "raw"), packed=False)

    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", fetch)
    assert_is_what_was_written(load_fashion_mnist(data_dir=tmp_path, download=True))
    assert_is_what_was_written(load_fashion_mnist(data_dir=tmp_path, download=True))
    assert asked == [(str(tmp_path), True)]


def test_a_failed_download_is_one_line(tmp_path, monkeypatch):
    def fetch(root: str, *, download: bool) -> None:
        raise URLError(f"no route from {root}, download={download}")

    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", fetch)
    with pytest.raises(InputError, match=f"Fashion-MNIST could not be downloaded to {tmp_path}: .*no route"):
        load_fashion_mnist(data_dir=tmp_path, download=True)
