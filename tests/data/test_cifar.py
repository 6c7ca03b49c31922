"""CIFAR's files are Python 2 pickles: small ones are written here opcode by opcode, as the published ones are."""

import hashlib
import os
import pickle
import struct
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch import from_numpy
from torchvision.datasets import CIFAR10, CIFAR100

from dtfl_private.data.cifar import CIFAR10_FACTS, CIFAR100_FACTS, SUPERCLASSES, load_cifar10, load_cifar100
from dtfl_private.data.dataset import load_dataset
from dtfl_private.errors import InputError

BATCHES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
IMAGES = 4
PROTOCOL_2, STOP = b"\x80\x02", b"."


def text(value: str | bytes) -> bytes:
    """Pickle a Python 2 ``str``, which is bytes."""
    raw = value.encode() if isinstance(value, str) else value
    return b"U" + bytes([len(raw)]) + raw if len(raw) < 256 else b"T" + struct.pack("<i", len(raw)) + raw


def integer(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def sequence(items: list[bytes]) -> bytes:
    return b"](" + b"".join(items) + b"e"


def mapping(items: dict[str, bytes]) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def matrix(array: np.ndarray) -> bytes:
    """Pickle a uint8 matrix as NumPy for Python 2 did."""
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + integer(0) + b"\x85" + text("b") + b"\x87R"
    byte = b"cnumpy\ndtype\n" + text("u1") + integer(0) + integer(1) + b"\x87R"
    byte += b"(" + integer(3) + text("|") + b"NNN" + integer(-1) + integer(-1) + integer(0) + b"tb"
    shape = integer(array.shape[0]) + integer(array.shape[1]) + b"\x86"
    return empty + b"(" + integer(1) + shape + byte + b"\x89" + text(array.tobytes()) + b"tb"


def batch_file(name: str, pixels: np.ndarray, labels: list[int]) -> bytes:
    content = {
        "batch_label": text(f"part {name}"),
        "labels": sequence([integer(label) for label in labels]),
        "data": matrix(pixels),
        "filenames": sequence([text(f"image_{number}.png") for number in range(len(labels))]),
    }
    return PROTOCOL_2 + mapping(content) + STOP


def meta_file() -> bytes:
    content = {
        "num_cases_per_batch": integer(IMAGES),
        "label_names": sequence([text(name) for name in CLASSES]),
        "num_vis": integer(3072),
    }
    return PROTOCOL_2 + mapping(content) + STOP


def touching(marker: Path) -> bytes:
    """Pickle something that creates a file when it is loaded."""
    return PROTOCOL_2 + b"cbuiltins\nopen\n" + text(str(marker)) + text("w") + b"\x86R" + STOP


def trust(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let the files that are in the folder now be the published ones."""
    md5 = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    monkeypatch.setattr(CIFAR10, "train_list", [[name, md5[name]] for name in BATCHES[:5]])
    monkeypatch.setattr(CIFAR10, "test_list", [[name, md5[name]] for name in BATCHES[5:]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": md5["batches.meta"]})


@pytest.fixture
def pixels() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.integers(0, 256, (IMAGES, 3072), dtype=np.uint8) for name in BATCHES}


@pytest.fixture
def labels() -> dict[str, list[int]]:
    return {name: [(number + image) % 10 for image in range(IMAGES)] for number, name in enumerate(BATCHES)}


@pytest.fixture
def folder(tmp_path, pixels, labels) -> Path:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in BATCHES:
        (folder / name).write_bytes(batch_file(name, pixels[name], labels[name]))
    (folder / "batches.meta").write_bytes(meta_file())
    return folder


def test_five_training_batches_and_a_test_batch_are_read_in_order(tmp_path, folder, pixels, labels, monkeypatch):
    trust(monkeypatch, folder)
    dataset = load_dataset("cifar-10", data_dir=tmp_path, download=False)
    # A row is 1024 red values, then green, then blue, each row by row.
    images = np.concatenate([pixels[name].reshape(-1, 3, 32, 32) for name in BATCHES])
    np.testing.assert_array_equal(dataset.train_images.numpy(), images[: 5 * IMAGES])
    np.testing.assert_array_equal(dataset.test_images.numpy(), images[5 * IMAGES :])
    assert dataset.train_labels.tolist() == [label for name in BATCHES[:5] for label in labels[name]]
    assert dataset.test_labels.tolist() == labels["test_batch"]
    assert dataset.classes == tuple(CLASSES)
    assert dataset.input_shape == (3, 32, 32)
    assert dataset.train_images.is_contiguous()


@pytest.mark.parametrize("name", ["data_batch_1", "data_batch_5", "test_batch", "batches.meta"])
def test_a_file_that_is_not_the_published_one_is_refused_without_being_unpickled(tmp_path, folder, name, monkeypatch):
    trust(monkeypatch, folder)
    marker = tmp_path / "marker"
    (folder / name).write_bytes(touching(marker))
    with pytest.raises(InputError) as refusal:
        load_cifar10(data_dir=tmp_path)
    named = f"no intact CIFAR-10 in {tmp_path} (cifar-10-batches-py/{name} is not the published file: its MD5 is not "
    assert str(refusal.value).startswith(named)
    assert "\n" not in str(refusal.value)
    assert not marker.exists()


def test_the_published_checksums_are_in_force(tmp_path, folder):
    marker = tmp_path / "marker"
    for path in folder.iterdir():
        path.write_bytes(touching(marker))
    with pytest.raises(InputError, match="no intact CIFAR-10"):
        load_cifar10(data_dir=tmp_path)
    assert not marker.exists()


def test_the_planted_pickle_would_act_if_it_were_loaded(tmp_path):
    marker = tmp_path / "marker"
    # The positive control, on bytes made here: loaded, the planted pickle does leave its mark.
    pickle.loads(touching(marker), encoding="latin1").close()
    assert marker.exists()


def test_a_missing_batch_is_refused(tmp_path, folder, monkeypatch):
    trust(monkeypatch, folder)
    (folder / "data_batch_3").unlink()
    with pytest.raises(InputError, match=r"no intact CIFAR-10 in .* \(cifar-10-batches-py/data_batch_3 is missing\): "):
        load_cifar10(data_dir=tmp_path)


def test_a_missing_folder_is_answered_by_how_to_get_the_files(tmp_path):
    with pytest.raises(InputError, match=r"^no CIFAR-10 in .*nowhere: name the folder that holds cifar-10-batches-py"):
        load_cifar10(data_dir=tmp_path / "nowhere")


def test_an_unreadable_folder_is_named(tmp_path, folder, monkeypatch):
    def forbidden(self: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    # What a folder that may not be searched does; the tests may run as a user who may search all.
    monkeypatch.setattr("os.path.isfile", lambda _: False)
    monkeypatch.setattr(Path, "stat", forbidden)
    with pytest.raises(InputError, match=rf"\({folder}/data_batch_1 cannot be read: Permission denied\)"):
        load_cifar10(data_dir=tmp_path)


def test_a_pipe_in_place_of_a_batch_is_not_waited_for(tmp_path, folder):
    for path in folder.iterdir():
        path.unlink()
    os.mkfifo(folder / "data_batch_1")
    with pytest.raises(InputError, match="data_batch_1 is not a file"):
        load_cifar10(data_dir=tmp_path)


def test_after_a_download_a_changed_file_is_named(tmp_path, folder, monkeypatch):
    trust(monkeypatch, folder)
    (folder / "batches.meta").write_bytes(b"")
    with pytest.raises(
        InputError, match=r"\(cifar-10-batches-py/batches.meta is not the published .*: fetch it again$"
    ):
        load_cifar10(data_dir=tmp_path, download=True)


@pytest.mark.parametrize("download", [True, False])
def test_a_folder_must_be_named(download):
    with pytest.raises(InputError, match="CIFAR-10 needs --data-dir"):
        load_cifar10(download=download)


def test_a_failed_download_is_one_line(tmp_path, monkeypatch):
    def fail(_: CIFAR10) -> None:
        raise URLError("no route")

    monkeypatch.setattr(CIFAR10, "download", fail)
    with pytest.raises(InputError, match=r"no intact CIFAR-10 in .* \(<urlopen error no route>\)"):
        load_cifar10(data_dir=tmp_path, download=True)


def test_files_that_are_there_are_not_downloaded_again(tmp_path, folder, monkeypatch):
    trust(monkeypatch, folder)
    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", None)
    assert len(load_cifar10(data_dir=tmp_path, download=True).test_images) == IMAGES


# CIFAR-100: one batch of training and one of test images, with two kinds of labels.

# The superclass of each class 0..99 as the published files number them.
COARSE_OF_FINE = [
    *(4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11, 6, 11, 5, 10, 7),
    *(6, 13, 15, 3, 15, 0, 11, 1, 10, 12, 14, 16, 9, 11, 5, 5, 19, 8, 8, 15, 13, 14, 17, 18, 10),
    *(16, 4, 17, 4, 2, 0, 17, 4, 18, 17, 10, 3, 2, 12, 12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16),
    *(12, 9, 13, 15, 13, 16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13),
]
FINE = sorted(name for names in SUPERCLASSES.values() for name in names.split())


@pytest.fixture
def hundred(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for name, count in (("train", 100), ("test", 20)):
        content = {
            "fine_labels": sequence([integer(label) for label in range(count)]),
            "coarse_labels": sequence([integer(COARSE_OF_FINE[label]) for label in range(count)]),
            "data": matrix(rng.integers(0, 256, (count, 3072), dtype=np.uint8)),
        }
        (folder / name).write_bytes(PROTOCOL_2 + mapping(content) + STOP)
    meta = {
        "fine_label_names": sequence([text(name) for name in FINE]),
        "coarse_label_names": sequence([text(name) for name in SUPERCLASSES]),
    }
    (folder / "meta").write_bytes(PROTOCOL_2 + mapping(meta) + STOP)
    md5 = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    monkeypatch.setattr(CIFAR100, "train_list", [["train", md5["train"]]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", md5["test"]]])
    monkeypatch.setattr(CIFAR100, "meta", {**CIFAR100.meta, "md5": md5["meta"]})
    return tmp_path


def test_cifar_100_has_its_fine_labels_by_default(hundred):
    rng = np.random.default_rng(1)
    dataset = load_dataset("cifar-100", data_dir=hundred, download=False)
    expected = rng.integers(0, 256, (100, 3072), dtype=np.uint8).reshape(-1, 3, 32, 32)
    np.testing.assert_array_equal(dataset.train_images.numpy(), expected)
    assert dataset.train_labels.tolist() == list(range(100))
    assert dataset.test_labels.tolist() == list(range(20))
    assert dataset.classes == tuple(FINE)


def test_the_coarse_labels_are_the_superclasses_of_the_published_files(hundred):
    dataset = load_dataset("cifar-100:labels=coarse", data_dir=hundred, download=False)
    assert dataset.train_labels.tolist() == COARSE_OF_FINE
    assert dataset.test_labels.tolist() == COARSE_OF_FINE[:20]
    assert dataset.classes == tuple(SUPERCLASSES)


@pytest.mark.parametrize("name", ["train", "test", "meta"])
def test_a_file_of_cifar_100_that_is_not_the_published_one_is_refused_without_being_unpickled(hundred, name):
    marker = hundred / "marker"
    (hundred / "cifar-100-python" / name).write_bytes(touching(marker))
    with pytest.raises(InputError, match="no intact CIFAR-100 in"):
        load_cifar100(data_dir=hundred)
    assert not marker.exists()


def test_the_images_of_a_batch_are_not_copied(tmp_path, folder, monkeypatch):
    # torchvision shows rows of 3x32x32 as 32x32x3; turning that back needs no second copy of the data set.
    trust(monkeypatch, folder)
    kept = []
    monkeypatch.setattr(torch, "from_numpy", lambda array: kept.append(array) or from_numpy(array))
    dataset = load_cifar10(data_dir=tmp_path)
    assert dataset.train_images.data_ptr() == kept[0].__array_interface__["data"][0]


def test_cifar_is_found_by_its_folder(tmp_path, folder, hundred):
    assert CIFAR10_FACTS.look(tmp_path) == str(folder)
    assert CIFAR100_FACTS.look(hundred) == str(hundred / "cifar-100-python")
    assert CIFAR10_FACTS.look(folder) is None
    assert CIFAR10_FACTS.look(None) is None
