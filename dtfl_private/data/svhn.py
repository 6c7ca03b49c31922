"""SVHN (Netzer et al., 2011), cropped digits, by torchvision, which checks the published MD5 of each file first."""

from pathlib import Path
from typing import TYPE_CHECKING

from dtfl_private.data.dataset import ChannelConstants, ImageDataset
from dtfl_private.data.facts import DatasetFacts, described_by
from dtfl_private.data.files.checksums import refused

if TYPE_CHECKING:
    from torch import Tensor
    from torchvision.datasets import SVHN


def _look(data_dir: Path | None) -> str | None:
    files = ("train_32x32.mat", "test_32x32.mat")
    return str(data_dir) if data_dir and all((data_dir / file).is_file() for file in files) else None


FACTS = DatasetFacts(
    title="SVHN",
    shape="3x32x32",
    classes="10",
    train="73,257",
    test="26,032",
    obtain="name the folder of train_32x32.mat and test_32x32.mat by --data-dir, or add --download to fill it",
    look=_look,
)

# Of the 73,257 training images; no paper gives them, the values are those in general use, rounded.
CONSTANTS = ChannelConstants(
    mean=(0.4377, 0.4438, 0.4728),
    deviation=(0.1980, 0.2010, 0.1970),
    source="in general use with torchvision's SVHN",
)


@described_by(FACTS)
def load_svhn(*, data_dir: Path | None = None, download: bool = False) -> ImageDataset:
    """House numbers in colour, one digit each (Netzer et al., 2011); a folder or a download.

    Args:
        data_dir: folder that holds ``train_32x32.mat`` and ``test_32x32.mat``.
        download: fetch the files into ``data_dir`` when they are not there.
    """
    if data_dir is None:
        raise FACTS.absent(None)
    from torchvision.datasets import SVHN

    try:
        train_images, train_labels = _part(SVHN, data_dir, "train", download)
        test_images, test_labels = _part(SVHN, data_dir, "test", download)
    except (OSError, RuntimeError) as error:
        md5_of = {SVHN.split_list[split][1]: SVHN.split_list[split][2] for split in ("train", "test")}
        raise refused(FACTS, data_dir, md5_of, error, download) from None
    return ImageDataset(
        name="svhn",
        source=f"SVHN, checksums verified, in {data_dir}",
        classes=tuple("0123456789"),
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        constants=CONSTANTS,
    )


def _part(kind: "type[SVHN]", data_dir: Path, split: str, download: bool) -> "tuple[Tensor, Tensor]":
    """Return images (N, 3, 32, 32) and labels; torchvision has turned the files' label 10 into the digit 0."""
    import torch

    part = kind(str(data_dir), split=split, download=download)
    return torch.from_numpy(part.data).contiguous(), torch.from_numpy(part.labels)
