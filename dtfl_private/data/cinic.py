"""CINIC-10 (Darlow, Crowley, Antoniou and Storkey, 2018, arXiv 1810.03505) from its train, valid and test folders."""

from pathlib import Path
from typing import Literal

from dtfl_private.data.dataset import ChannelConstants, ImageDataset
from dtfl_private.data.facts import DatasetFacts, described_by, first_folder_with
from dtfl_private.data.files.found_files import DataFile
from dtfl_private.data.files.image_files import ImageFiles, images_below
from dtfl_private.data.files.pixels import PixelFormat
from dtfl_private.errors import InputError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def _root(data_dir: Path | None) -> Path | None:
    return data_dir and first_folder_with("train", data_dir, data_dir / "CINIC-10")


def _look(data_dir: Path | None) -> str | None:
    root = _root(data_dir)
    there = root and all((root / part / name).is_dir() for part in ("train", "valid", "test") for name in CLASSES)
    return str(root) if there else None


FACTS = DatasetFacts(
    title="CINIC-10",
    shape="3x32x32",
    classes="10",
    train="90,000, or 180,000 with valid=join",
    test="90,000",
    obtain="unpack CINIC-10.tar.gz (Edinburgh DataShare, doi 10.7488/ds/2448) and name its folder by --data-dir",
    look=_look,
)

CONSTANTS = ChannelConstants(
    mean=(0.47889522, 0.47227842, 0.43047404),
    deviation=(0.24205776, 0.23828046, 0.25874835),
    source="its authors, README of BayesWatch/cinic-10",
)


@described_by(FACTS)
def load_cinic10(
    *,
    data_dir: Path | None = None,
    download: bool = False,  # noqa: ARG001 - there is no checked download
    valid: Literal["drop", "join"] = "drop",
) -> ImageDataset:
    """Objects in colour from CIFAR-10 and ImageNet (Darlow et al., 2018); a folder.

    Args:
        data_dir: folder that holds ``train``, ``valid`` and ``test``, or a folder ``CINIC-10`` with them.
        download: unused, there is no download.
        valid: what to do with the 90,000 images of ``valid``: leave them out, or join them to the training images.
    """
    root = _root(data_dir)
    if root is None:
        raise FACTS.absent(data_dir)
    train = _part(root, "train")
    if valid == "join":
        train += _part(root, "valid")
    files = ImageFiles(
        name="cinic-10",
        source=f"CINIC-10 in {root}, valid images: {valid}",
        root=root,
        variant=valid,
        classes=CLASSES,
        train=train,
        test=_part(root, "test"),
        constants=CONSTANTS,
    )
    dataset = files.load(PixelFormat(size=None, grey=False))
    _, height, width = dataset.input_shape
    if (height, width) != (32, 32):  # all of them, since they agree in size
        raise InputError(
            f"{root / train[0].name} is {width}x{height} pixels, those of CINIC-10 are 32x32: unpack it again, or load "
            "your own images by the data set image-folder"
        )
    return dataset


def _part(root: Path, part: str) -> list[DataFile]:
    return [file for label, name in enumerate(CLASSES) for file in images_below(root, f"{part}/{name}", label)]
