"""CIFAR-10 (Krizhevsky, 2009) by torchvision, which checks the published MD5 of each file before it reads it."""

from pathlib import Path

import torch
from torchvision.datasets import CIFAR10

from dtfl_private.data.dataset import ImageDataset
from dtfl_private.errors import InputError


def load_cifar10(*, data_dir: Path | None = None, download: bool = False) -> ImageDataset:
    """Objects in colour, 32x32; 50,000 training and 10,000 test images; a folder or a download.

    The batches are Python pickles: torchvision opens them only when their MD5 is the published one.

    Args:
        data_dir: folder that holds ``cifar-10-batches-py``.
        download: fetch the files into ``data_dir`` when they are not there.
    """
    if data_dir is None:
        raise InputError(
            "cifar-10 needs --data-dir: the folder that holds cifar-10-batches-py, or that --download fills"
        )
    try:
        train, test = (CIFAR10(str(data_dir), train=train, download=download) for train in (True, False))
    except (OSError, RuntimeError) as error:
        reason = str(error).partition(".")[0]
        raise InputError(f"no intact CIFAR-10 in {data_dir} ({reason}): add --download, or fetch it again") from None
    return ImageDataset(
        name="cifar-10",
        source=f"CIFAR-10, checksums verified, in {data_dir}",
        classes=tuple(train.classes),
        train_images=torch.from_numpy(train.data).permute(0, 3, 1, 2).contiguous(),
        train_labels=torch.tensor(train.targets, dtype=torch.int64),
        test_images=torch.from_numpy(test.data).permute(0, 3, 1, 2).contiguous(),
        test_labels=torch.tensor(test.targets, dtype=torch.int64),
    )
