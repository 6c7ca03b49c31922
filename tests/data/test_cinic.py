from pathlib import Path

import pytest
from PIL import Image

from dtfl_private.data.cinic import CLASSES, FACTS, load_cinic10
from dtfl_private.data.dataset import load_dataset
from dtfl_private.errors import InputError

PARTS = ("train", "valid", "test")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DTFL_PRIVATE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two images of each class and part, named as in the archive; some images of CINIC-10 are grey."""
    for place, part in enumerate(PARTS):
        for label, name in enumerate(CLASSES):
            below = tmp_path / "CINIC-10" / part / name
            below.mkdir(parents=True)
            Image.new("RGB", (32, 32), (place, label, 7)).save(below / f"cifar10-{part}-{label}.png")
            Image.new("L", (32, 32), 100 + label).save(below / "n02691156_10168.png")
    return tmp_path


@pytest.mark.parametrize("below", [".", "CINIC-10"])
@pytest.mark.parametrize(
    ("text", "train_parts"), [("cinic-10", [0]), ("cinic-10:join", [0, 1]), ("cinic-10:drop", [0])]
)
def test_parts_and_classes_are_those_of_the_folders(folder, below, text, train_parts):
    dataset = load_dataset(text, data_dir=folder / below, download=False)
    assert dataset.classes == CLASSES
    assert dataset.input_shape == (3, 32, 32)
    for part, places in (("train", train_parts), ("test", [2])):
        images, labels = getattr(dataset, f"{part}_images"), getattr(dataset, f"{part}_labels")
        pixels = images[:, :, 0, 0].tolist()
        expected = [
            (pixel, label)
            for place in places
            for label in range(10)
            for pixel in ([place, label, 7], [100 + label] * 3)
        ]
        assert list(zip(pixels, labels.tolist(), strict=True)) == expected


def test_absent_data_are_answered_by_where_they_are_to_be_had(tmp_path):
    with pytest.raises(
        InputError, match=r"CINIC-10 needs --data-dir: unpack CINIC-10\.tar\.gz .* doi 10\.7488/ds/2448"
    ):
        load_cinic10()
    with pytest.raises(InputError, match=r"no CINIC-10 in .*: unpack CINIC-10\.tar\.gz"):
        load_cinic10(data_dir=tmp_path, download=True)


def test_a_missing_or_empty_class_folder_is_named(folder, cache):
    victim = folder / "CINIC-10" / "test" / "frog"
    for image in victim.iterdir():
        image.unlink()
    with pytest.raises(InputError, match=f"{victim} holds no PNG or JPEG image"):
        load_cinic10(data_dir=folder)
    victim.rmdir()
    with pytest.raises(InputError, match=rf"{victim} cannot be read \(No such file or directory\)"):
        load_cinic10(data_dir=folder)
    assert not cache.exists()


def test_an_image_of_another_size_is_named(folder, cache):
    victim = folder / "CINIC-10" / "test" / "frog" / "odd.png"
    Image.new("RGB", (33, 32)).save(victim)
    with pytest.raises(InputError, match=f"{victim} is 33x32 pixels, the images before it 32x32"):
        load_cinic10(data_dir=folder)
    assert not cache.exists()


def test_images_that_are_not_those_of_cinic_are_refused(folder):
    for path in (folder / "CINIC-10").rglob("*.png"):
        Image.new("RGB", (16, 8)).save(path)
    first = folder / "CINIC-10" / "train" / "airplane" / "cifar10-train-0.png"
    with pytest.raises(InputError, match=f"^{first} is 16x8 pixels, those of CINIC-10 are 32x32: "):
        load_cinic10(data_dir=folder)


def test_it_is_found_when_all_folders_are_there(folder):
    assert FACTS.look(folder) == str(folder / "CINIC-10")
    assert FACTS.look(folder / "CINIC-10") == str(folder / "CINIC-10")
    assert FACTS.look(None) is None
    (folder / "CINIC-10" / "valid").rename(folder / "valid")
    assert FACTS.look(folder) is None
