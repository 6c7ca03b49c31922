"""Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017, arXiv 1708.07747) from its four IDX files."""

from pathlib import Path

import torch
from torch import Tensor

from dtfl_private.data.dataset import ImageDataset
from dtfl_private.data.idx import read_idx
from dtfl_private.errors import InputError

# Where Debian's package dataset-fashion-mnist puts the files.
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")

# Where torchvision's download puts the files below its root.
TORCHVISION_SUBFOLDER = Path("FashionMNIST", "raw")

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def load_fashion_mnist(*, data_dir: Path | None = None, download: bool = False) -> ImageDataset:
    """Clothes in grey, 28x28; 60,000 training and 10,000 test images; Debian's package, a folder or a download.

    Args:
        data_dir: folder of the four ``*-ubyte[.gz]`` files; by default Debian's folder.
        download: fetch the files into ``data_dir`` by torchvision when they are not there.
    """
    folder = _folder(data_dir, download)
    train_images, train_labels = _read_part(folder, "train")
    test_images, test_labels = _read_part(folder, "t10k")
    return ImageDataset(
        name="fashion-mnist",
        source=f"Fashion-MNIST, IDX files in {folder}",
        classes=CLASSES,
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
    )


def _folder(data_dir: Path | None, download: bool) -> Path:
    if download and data_dir is None:
        raise InputError("--download needs --data-dir: the folder that the files are to be put in")
    base = data_dir or DEBIAN_FOLDER
    for folder in (base, base / TORCHVISION_SUBFOLDER):
        if any(folder.glob("*-ubyte*")) and (not download or _complete(folder)):
            return folder
    if download:
        from torchvision.datasets import FashionMNIST  # a slow import that other data sets do not need

        try:
            FashionMNIST(str(base), download=True)
        except (OSError, RuntimeError) as error:
            raise InputError(f"Fashion-MNIST could not be downloaded to {base}: {error}") from None
        return base / TORCHVISION_SUBFOLDER
    raise InputError(
        f"no Fashion-MNIST in {base}: install Debian's package dataset-fashion-mnist, "
        "name the folder of the four IDX files by --data-dir, or add --download"
    )


def _read_part(folder: Path, part: str) -> tuple[Tensor, Tensor]:
    images_file = _existing(folder, f"{part}-images-idx3-ubyte")
    labels_file = _existing(folder, f"{part}-labels-idx1-ubyte")
    images, labels = read_idx(images_file, dimensions=3), read_idx(labels_file, dimensions=1)
    if images.shape[1:] != (28, 28):
        raise InputError(f"{images_file} holds images of {images.shape[1]}x{images.shape[2]} pixels, expected 28x28")
    if len(images) != len(labels):
        raise InputError(f"{images_file} holds {len(images)} images, {labels_file.name} {len(labels)} labels")
    return torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels).long()


def _complete(folder: Path) -> bool:
    return all((folder / name).is_file() or (folder / f"{name}.gz").is_file() for name in FILES)


def _existing(folder: Path, name: str) -> Path:
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    raise InputError(f"{folder} has no {name}[.gz]: all four files of Fashion-MNIST are needed")
