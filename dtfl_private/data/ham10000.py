"""HAM10000 (Tschandl, Rosendahl and Kittler, 2018, arXiv 1803.10417): skin lesions, a metadata table and JPEG files."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from dtfl_private.data.dataset import ChannelConstants, ImageDataset
from dtfl_private.data.facts import DatasetFacts, described_by
from dtfl_private.data.files.found_files import DataFile, chosen_for_test, folders_in
from dtfl_private.data.files.image_files import ImageFiles, images_below
from dtfl_private.data.files.pixels import PixelFormat, Side
from dtfl_private.errors import InputError
from dtfl_private.files import reading

# Actinic keratoses, basal cell carcinoma, benign keratosis, dermatofibroma, melanoma, naevi, vascular lesions.
CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")

COLUMNS = ("lesion_id", "image_id", "dx")

# The archive names the table without an ending, its exports with one.
TABLES = ("HAM10000_metadata.csv", "HAM10000_metadata", "HAM10000_metadata.tab")

# The published one has half a MiB.
LARGEST_TABLE_BYTES = 2**26

Row = Mapping[str, str]
Share = Annotated[float, Field(gt=0, lt=1)]


def _table(data_dir: Path | None) -> Path | None:
    if data_dir is None:
        return None
    return next((data_dir / name for name in TABLES if (data_dir / name).is_file()), None)


def _look(data_dir: Path | None) -> str | None:
    table = _table(data_dir)
    return str(table) if table else None


FACTS = DatasetFacts(
    title="HAM10000",
    shape="3xSxS",
    classes="7",
    train="80% of 10,015",
    test="20%",
    obtain=(
        "fetch HAM10000_metadata and the two archives of images (Harvard Dataverse, doi 10.7910/DVN/DBW86T), "
        "unpack them and name the folder by --data-dir"
    ),
    look=_look,
)

# Of all 10,015 images at 224x224 pixels; the deviation at other sizes differs a little. No paper gives them: they are
# the values in general use on Kaggle and GitHub, rounded.
CONSTANTS = ChannelConstants(
    mean=(0.7630, 0.5456, 0.5700),
    deviation=(0.1409, 0.1526, 0.1700),
    source="in general use with HAM10000 at 224x224",
)


@described_by(FACTS)
def load_ham10000(
    *,
    data_dir: Path | None = None,
    download: bool = False,  # noqa: ARG001 - there is no checked download
    size: Side = 64,
    test: Share = 0.2,
) -> ImageDataset:
    """Skin lesions in colour (Tschandl et al., 2018), split by lesion; a folder.

    Of each class the lesions whose ids have the smallest SHA-256 are the test lesions, always the same; all images of a
    lesion are on one side. Where the table tells a source (column ``dataset``), the partition ``natural`` deals by it.

    Args:
        data_dir: folder of the table and of the images, which lie in it or in folders ``HAM10000_images*``.
        download: unused, there is no download.
        size: side in pixels of the square that images are resized to.
        test: share of each class's lesions that becomes the test set.
    """
    table = _table(data_dir)
    if data_dir is None or table is None:
        raise FACTS.absent(data_dir)
    rows = _read(table)
    files = _files(table, rows, _images(data_dir))
    held_out = _test_lesions(table, rows, test)
    on_test = [row["lesion_id"] in held_out for row in rows]
    found = ImageFiles(
        name="ham10000",
        source=f"HAM10000 in {data_dir}, split by lesion",
        root=data_dir,
        variant=f"test={test}",
        classes=CLASSES,
        train=[file for file, hold in zip(files, on_test, strict=True) if not hold],
        test=[file for file, hold in zip(files, on_test, strict=True) if hold],
        constants=CONSTANTS,
    )
    return found.load(PixelFormat(size=size, grey=False))


def _read(table: Path) -> list[Row]:
    """Return the table's rows, comma- or tab-separated, checked."""
    try:
        text = reading.read_text(table, most_bytes=LARGEST_TABLE_BYTES)
        delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
        missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise InputError(f"{table} has no column {', '.join(missing)}: expected {', '.join(COLUMNS)}")
        rows: list[Row] = list(reader)
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{table} cannot be read as a table ({reading.reason(error)}): fetch it again") from None
    if not rows:
        raise InputError(f"{table} has no rows: fetch it again")
    seen: set[str] = set()
    for number, row in enumerate(rows, start=2):
        _check(table, number, row, seen)
    return rows


def _check(table: Path, number: int, row: Row, seen: set[str]) -> None:
    empty = [column for column in COLUMNS if not row[column]]
    if empty:
        raise InputError(f"{table}, row {number}: {', '.join(empty)} is empty: fetch the table again")
    if row["dx"] not in CLASSES:
        raise InputError(f"{table}, row {number}: dx '{row['dx']}' is none of {', '.join(CLASSES)}")
    if row["image_id"] in seen:
        raise InputError(f"{table}, row {number}: image_id '{row['image_id']}' occurs twice: fetch the table again")
    seen.add(row["image_id"])


def _images(root: Path) -> dict[str, DataFile]:
    """Return the image files by image id: those in folders ``HAM10000_images*``, or all of them if there are none."""
    folders = [name for name in folders_in(root) if name.casefold().startswith("ham10000_images")] or [""]
    images: dict[str, DataFile] = {}
    for file in (file for folder in folders for file in images_below(root, folder, 0)):
        # One archive in circulation has every image twice, in folders whose names differ in capitals only.
        known = images.setdefault(Path(file.name).stem, file)
        if known.bytes != file.bytes:
            raise InputError(f"{root / known.name} and {root / file.name} differ: remove one of them")
    return images


def _files(table: Path, rows: Sequence[Row], images: Mapping[str, DataFile]) -> list[DataFile]:
    """Return the file of each row. An image id is only looked up, never made a path: no table leads elsewhere."""
    sources = sorted({row["dataset"] for row in rows if row.get("dataset")})
    files = []
    for number, row in enumerate(rows, start=2):
        file = images.get(row["image_id"])
        if file is None:
            raise InputError(f"{table}, row {number}: there is no image '{row['image_id']}': fetch both image archives")
        if sources and not row["dataset"]:
            raise InputError(f"{table}, row {number}: dataset is empty: fetch the table again")
        client = sources.index(row["dataset"]) if sources else None
        files.append(replace(file, label=CLASSES.index(row["dx"]), client=client))
    return files


def _test_lesions(table: Path, rows: Sequence[Row], share: float) -> set[str]:
    lesions = {row["lesion_id"]: row["dx"] for row in rows}
    held_out: set[str] = set()
    for dx in sorted(set(lesions.values())):
        held_out |= chosen_for_test([lesion for lesion, its in lesions.items() if its == dx], share)
    if not held_out:
        raise InputError(f"{table} has one lesion of each class only: training and test need one each")
    return held_out
