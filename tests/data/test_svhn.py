import hashlib
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from scipy.io import savemat
from torchvision.datasets import SVHN

from dtfl_private.data.dataset import load_dataset
from dtfl_private.data.svhn import FACTS, load_svhn
from dtfl_private.errors import InputError

RNG = np.random.default_rng(0)
# In the files 10 stands for the digit 0.
LABELS = {"train": np.array([1, 10, 9, 5, 10]), "test": np.array([[3], [10]])[:, 0]}
IMAGES = {part: RNG.integers(0, 256, (32, 32, 3, len(labels)), dtype=np.uint8) for part, labels in LABELS.items()}


@pytest.fixture
def folder(tmp_path) -> Path:
    for part, labels in LABELS.items():
        content = {"X": IMAGES[part], "y": labels[:, np.newaxis].astype(np.uint8)}
        savemat(tmp_path / f"{part}_32x32.mat", content, do_compression=True)
    return tmp_path


@pytest.fixture
def trusted(folder, monkeypatch) -> Path:
    """Let the files that are in the folder now be the published ones."""
    published = {
        part: [url, name, hashlib.md5((folder / name).read_bytes()).hexdigest()]
        for part, (url, name, _) in SVHN.split_list.items()
        if part != "extra"
    }
    monkeypatch.setattr(SVHN, "split_list", published)
    return folder


def test_images_and_digits_are_those_of_the_files(trusted):
    dataset = load_dataset("svhn", data_dir=trusted, download=False)
    for part in ("train", "test"):
        images = getattr(dataset, f"{part}_images")
        np.testing.assert_array_equal(images.numpy(), IMAGES[part].transpose(3, 2, 0, 1))
        assert images.is_contiguous()
        assert getattr(dataset, f"{part}_labels").tolist() == (LABELS[part] % 10).tolist()
    assert dataset.classes == tuple("0123456789")
    assert FACTS.look(trusted) == str(trusted)


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_file_that_is_not_the_published_one_is_refused(trusted, part):
    with (trusted / f"{part}_32x32.mat").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(InputError, match=rf"^no intact SVHN in {trusted} \({part}_32x32\.mat is not the published "):
        load_svhn(data_dir=trusted)


def test_the_published_checksums_are_in_force(folder):
    with pytest.raises(InputError, match="no intact SVHN"):
        load_svhn(data_dir=folder)


def test_absent_files_are_answered_by_how_to_get_them(tmp_path):
    with pytest.raises(InputError, match=r"^SVHN needs --data-dir: .*train_32x32\.mat"):
        load_svhn()
    with pytest.raises(InputError, match=r"^no SVHN in .*none: name the folder of train_32x32\.mat"):
        load_svhn(data_dir=tmp_path / "none")
    assert FACTS.look(tmp_path) is None


def test_a_missing_file_is_named(trusted):
    (trusted / "test_32x32.mat").unlink()
    with pytest.raises(InputError, match=r"\(test_32x32\.mat is missing\): add --download, or fetch it again$"):
        load_svhn(data_dir=trusted)


def test_a_failed_download_is_one_line(tmp_path, monkeypatch):
    def fail(_: SVHN) -> None:
        raise URLError("no route")

    monkeypatch.setattr(SVHN, "download", fail)
    with pytest.raises(InputError, match=r"no intact SVHN in .* \(<urlopen error no route>\)"):
        load_svhn(data_dir=tmp_path, download=True)
