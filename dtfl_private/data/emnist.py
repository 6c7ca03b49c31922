"""EMNIST (Cohen, Afshar, Tapson and van Schaik, 2017, arXiv 1702.05373): NIST's letters and digits, IDX files."""

import string
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from dtfl_private.data.dataset import ChannelConstants, ImageDataset
from dtfl_private.data.facts import DatasetFacts, described_by
from dtfl_private.data.idx_sets import IdxFiles, find_idx_set, load_idx_set
from dtfl_private.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

Split = Literal["byclass", "bymerge", "balanced", "letters", "digits", "mnist"]

# Lower-case letters that the merged splits count with their capitals (section II.B of the paper).
MERGED = "cijklmopsuvwxyz"

ALL = string.digits + string.ascii_uppercase + string.ascii_lowercase

CLASSES: dict[Split, str] = {
    "byclass": ALL,
    "bymerge": "".join(letter for letter in ALL if letter not in MERGED),
    "balanced": "".join(letter for letter in ALL if letter not in MERGED),
    "letters": string.ascii_lowercase,
    "digits": string.digits,
    "mnist": string.digits,
}


def _fetch(root: str) -> object:
    from torchvision.datasets import EMNIST  # a slow import that other data sets do not need

    # One archive holds all splits; which one is then opened does not matter.
    return EMNIST(root, split="mnist", download=True)


def _files(split: Split) -> IdxFiles:
    return IdxFiles(
        facts=FACTS,
        train=f"emnist-{split}-train",
        test=f"emnist-{split}-test",
        below=(Path("EMNIST", "raw"), Path("gzip")),
        fetch=_fetch,
    )


def _look(data_dir: Path | None) -> str | None:
    found = [(split, find_idx_set(_files(split), data_dir)) for split in get_args(Split)]
    there = [split for split, folder in found if folder]
    folder = next((folder for _, folder in found if folder), None)
    return folder and f"{folder}: {', '.join(there)}"


FACTS = DatasetFacts(
    title="EMNIST",
    shape="1x28x28",
    classes="10 to 62, by split",
    train="60,000 to 697,932",
    test="10,000 to 116,323",
    obtain="name the folder of the unpacked gzip.zip by --data-dir, or add --download to fill it (560 MB)",
    look=_look,
)

# Mean and deviation of each split's training images.
SCALES: dict[Split, tuple[float, float]] = {
    "byclass": (0.174, 0.332),
    "bymerge": (0.174, 0.332),
    "balanced": (0.175, 0.333),
    "letters": (0.172, 0.331),
    "digits": (0.173, 0.332),
    "mnist": (0.173, 0.332),
}


def _constants(split: Split) -> ChannelConstants:
    mean, deviation = SCALES[split]
    source = "PyTorch Lightning Bolts, pl_bolts/transforms/dataset_normalizations.py"
    return ChannelConstants(mean=(mean,), deviation=(deviation,), source=source)


@described_by(FACTS)
def load_emnist(*, data_dir: Path | None = None, download: bool = False, split: Split = "balanced") -> ImageDataset:
    """Handwritten letters and digits in grey (Cohen et al., 2017); a folder or a download.

    Args:
        data_dir: folder of the ``emnist-SPLIT-*-ubyte[.gz]`` files.
        download: fetch the files into ``data_dir`` by torchvision when they are not there.
        split: byclass (62 classes), bymerge and balanced (47), letters (26), digits and mnist (10).
    """
    folder, (train_images, train_labels, test_images, test_labels) = load_idx_set(_files(split), data_dir, download)
    return ImageDataset(
        name="emnist",
        source=f"EMNIST, split {split}, IDX files in {folder}",
        classes=tuple(CLASSES[split]),
        train_images=_upright(train_images),
        train_labels=_from_zero(split, train_labels),
        test_images=_upright(test_images),
        test_labels=_from_zero(split, test_labels),
        constants=_constants(split),
    )


def _upright(images: "Tensor") -> "Tensor":
    """Return the images as people read them: the files hold them with rows and columns exchanged."""
    return images.transpose(2, 3).contiguous()


def _from_zero(split: Split, labels: "Tensor") -> "Tensor":
    """Return labels from 0: those of the letters are 1..26 in the files."""
    if split != "letters":
        return labels
    if int(labels.min()) < 1:
        raise InputError("emnist: split letters has a label 0, expected 1..26: fetch its files again")
    return labels - 1
