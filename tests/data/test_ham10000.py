"""HAM10000: tables as in the archive (tab- or comma-separated, with or without the source) and small JPEG images."""

import csv
import hashlib
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from dtfl_private.data.dataset import load_dataset
from dtfl_private.data.files.found_files import DataFile
from dtfl_private.data.files.image_files import ImageFiles
from dtfl_private.data.ham10000 import CLASSES, FACTS, load_ham10000
from dtfl_private.errors import InputError

COLUMNS = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "dataset"]
LESIONS = 140


def rows() -> list[dict[str, str]]:
    """Return 140 lesions, 20 of each class, of one to three images each; the id tells the shade."""
    found = []
    for lesion in range(LESIONS):
        for _ in range(1 + lesion % 3):
            number = len(found)
            found.append(
                {
                    "lesion_id": f"HAM_{lesion:07d}",
                    "image_id": f"ISIC_{number:07d}",
                    "dx": CLASSES[lesion % 7],
                    "dx_type": "histo",
                    "age": "60.0",
                    "sex": "male",
                    "localization": "back",
                    "dataset": ("vidir_modern", "rosendahl")[lesion % 2],
                }
            )
    return found


def write_table(path: Path, table: list[dict[str, str]], columns: list[str] = COLUMNS, delimiter: str = ",") -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, delimiter=delimiter, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(table)


def write_images(folder: Path, table: list[dict[str, str]]) -> None:
    folder.mkdir(exist_ok=True)
    for row in table:
        number = int(row["image_id"][5:])
        Image.new("RGB", (6, 4), (number % 256, 0, 0)).save(
            folder / f"{row['image_id']}.jpg", quality=100, subsampling=0
        )


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DTFL_PRIVATE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path) -> Path:
    folder, table = tmp_path / "ham", rows()
    folder.mkdir()
    write_table(folder / "HAM10000_metadata.csv", table)
    write_images(folder / "HAM10000_images_part_1", table[:150])
    write_images(folder / "HAM10000_images_part_2", table[150:])
    return folder


def refusal(folder: Path, **settings: object) -> str:
    with pytest.raises(InputError) as error:
        load_ham10000(data_dir=folder, **settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_every_image_has_the_diagnosis_of_its_row(folder):
    dataset = load_dataset("ham10000:size=8", data_dir=folder, download=False)
    assert dataset.classes == CLASSES
    assert dataset.input_shape == (3, 8, 8)
    assert len(dataset.train_labels) + len(dataset.test_labels) == len(rows())
    # Neighbouring shades 0..278 mod 256: an image is its row's up to JPEG's rounding, and rows come in order.
    expected = defaultdict(list)
    for number, row in enumerate(rows()):
        expected[CLASSES.index(row["dx"])].append(number % 256)
    for label in range(7):
        shades = torch.cat(
            [
                dataset.train_images[dataset.train_labels == label, 0, 0, 0],
                dataset.test_images[dataset.test_labels == label, 0, 0, 0],
            ]
        )
        differences = [abs(a - b) for a, b in zip(sorted(shades.tolist()), sorted(expected[label]), strict=True)]
        assert max(differences) <= 2


def lesions(files: Sequence[DataFile]) -> set[str]:
    """Return the lesions that image files show."""
    lesion_of = {row["image_id"]: row["lesion_id"] for row in rows()}
    return {lesion_of[Path(file.name).stem] for file in files}


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_no_lesion_is_on_both_sides_and_each_class_is_on_both(folder, share, monkeypatch):
    monkeypatch.setattr(ImageFiles, "load", lambda self, _: self)
    found: Any = load_ham10000(data_dir=folder, test=share)
    train, test = lesions(found.train), lesions(found.test)
    assert not train & test
    assert len(train | test) == LESIONS
    assert len(found.train) + len(found.test) == len(rows())
    for label in range(7):
        assert sum(int(lesion[4:]) % 7 == label for lesion in test) == round(20 * share)


def test_the_test_lesions_are_those_with_the_smallest_hash(folder, monkeypatch):
    monkeypatch.setattr(ImageFiles, "load", lambda self, _: self)
    found: Any = load_ham10000(data_dir=folder)
    for label in range(7):
        ids = [f"HAM_{lesion:07d}" for lesion in range(LESIONS) if lesion % 7 == label]
        smallest = sorted(ids, key=lambda lesion: hashlib.sha256(lesion.encode()).hexdigest())[:4]
        assert {lesion for lesion in lesions(found.test) if lesion in ids} == set(smallest)


def test_the_split_is_always_the_same_whatever_the_order_of_the_rows(folder):
    first = load_ham10000(data_dir=folder, size=4)
    table = rows()[::-1]
    write_table(folder / "HAM10000_metadata.csv", table)
    other = load_ham10000(data_dir=folder, size=4)
    assert sorted(other.test_images[:, 0, 0, 0].tolist()) == sorted(first.test_images[:, 0, 0, 0].tolist())


def test_the_source_of_an_image_is_its_natural_client(folder):
    dataset = load_ham10000(data_dir=folder, size=4)
    assert dataset.client_ids is not None
    assert set(dataset.client_ids.tolist()) == {0, 1}
    write_table(folder / "HAM10000_metadata.csv", rows(), COLUMNS[:-1])
    assert load_ham10000(data_dir=folder, size=4).client_ids is None


@pytest.mark.parametrize(
    ("name", "delimiter"), [("HAM10000_metadata", ","), ("HAM10000_metadata.tab", "\t"), ("HAM10000_metadata.csv", ",")]
)
@pytest.mark.parametrize("images", [".", "HAM10000_images", "ham10000_images_part_1"])
def test_the_table_and_the_images_may_lie_in_several_ways(tmp_path, name, delimiter, images):
    folder, table = tmp_path / "other", rows()[:40]
    folder.mkdir()
    write_table(folder / name, table, delimiter=delimiter)
    write_images(folder / images, table)
    dataset = load_ham10000(data_dir=folder, size=4)
    assert len(dataset.train_labels) + len(dataset.test_labels) == 40
    assert FACTS.look(folder) == str(folder / name)


def test_an_archive_that_has_its_images_twice_is_read_once(folder):
    write_images(folder / "ham10000_images_part_1", rows()[:150])
    assert len(load_ham10000(data_dir=folder, size=4).train_labels) < len(rows())
    Image.new("RGB", (60, 40), "white").save(folder / "ham10000_images_part_1" / "ISIC_0000003.jpg")
    assert "ISIC_0000003.jpg differ: remove one of them" in refusal(folder)


def test_absent_data_are_answered_by_where_they_are_to_be_had(tmp_path):
    assert refusal(tmp_path).startswith(f"no HAM10000 in {tmp_path}: fetch HAM10000_metadata and the two archives")
    with pytest.raises(InputError, match=r"HAM10000 needs --data-dir: .*doi 10\.7910/DVN/DBW86T"):
        load_ham10000()
    assert FACTS.look(tmp_path) is None
    assert FACTS.look(None) is None


@pytest.mark.parametrize("column", ["lesion_id", "image_id", "dx"])
def test_a_missing_column_is_named(folder, cache, column):
    write_table(folder / "HAM10000_metadata.csv", rows(), [name for name in COLUMNS if name != column])
    expected = f"{folder / 'HAM10000_metadata.csv'} has no column {column}: expected lesion_id, image_id, dx"
    assert refusal(folder) == expected
    assert not cache.exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image_id": "ISIC_9999999"}, "row 5: there is no image 'ISIC_9999999'"),
        ({"image_id": "../../secret"}, "row 5: there is no image '../../secret'"),
        ({"image_id": "/etc/passwd"}, "row 5: there is no image '/etc/passwd'"),
        ({"image_id": ""}, "row 5: image_id is empty"),
        ({"lesion_id": ""}, "row 5: lesion_id is empty"),
        ({"dx": "naevus"}, "row 5: dx 'naevus' is none of akiec, bcc, bkl, df, mel, nv, vasc"),
        ({"image_id": "ISIC_0000000"}, "row 5: image_id 'ISIC_0000000' occurs twice"),
        ({"dataset": ""}, "row 5: dataset is empty"),
    ],
)
def test_a_bad_row_is_named(folder, cache, tmp_path, changes, said):
    Image.new("RGB", (6, 4)).save(tmp_path / "secret.jpg")
    table = rows()
    table[3].update(changes)
    write_table(folder / "HAM10000_metadata.csv", table)
    assert refusal(folder).startswith(f"{folder / 'HAM10000_metadata.csv'}, {said}")
    assert not cache.exists()


@pytest.mark.parametrize(
    "content", [b"", b"lesion_id,image_id,dx\n", b"\xff\xfe\x00", b'lesion_id,image_id,dx\n"' + b"x" * 200_000]
)
def test_what_is_no_table_is_refused(folder, content):
    (folder / "HAM10000_metadata.csv").write_bytes(content)
    assert refusal(folder).startswith(f"{folder / 'HAM10000_metadata.csv'} ")


def test_a_short_row_is_refused(folder):
    table = (folder / "HAM10000_metadata.csv").read_text().splitlines()
    table[2] = "HAM_0000001"
    (folder / "HAM10000_metadata.csv").write_text("\n".join(table))
    assert ", row 3: image_id, dx is empty" in refusal(folder)


def test_a_corrupt_image_is_named_and_nothing_is_cached(folder, cache):
    victim = folder / "HAM10000_images_part_1" / "ISIC_0000004.jpg"
    victim.write_bytes(victim.read_bytes()[:100])
    assert refusal(folder).startswith(f"{victim} cannot be read as a PNG or JPEG image")
    assert not cache.exists()


def test_one_lesion_of_each_class_cannot_be_split(tmp_path):
    folder, table = tmp_path / "few", rows()[:1]
    folder.mkdir()
    write_table(folder / "HAM10000_metadata.csv", table)
    write_images(folder / "HAM10000_images", table)
    assert "has one lesion of each class only" in refusal(folder)


def test_a_folder_without_permission_is_named(folder, monkeypatch):
    scandir = os.scandir

    def guarded(path: object) -> object:
        if str(path).endswith("part_2"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert refusal(folder).startswith(f"{folder / 'HAM10000_images_part_2'} cannot be read (Permission denied)")
