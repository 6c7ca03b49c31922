"""Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017, arXiv 1708.07747) from its four IDX files."""

from pathlib import Path

from dtfl_private.data.dataset import ChannelConstants, ImageDataset
from dtfl_private.data.facts import DatasetFacts, described_by
from dtfl_private.data.idx_sets import IdxFiles, find_idx_set, load_idx_set

# Where Debian's package dataset-fashion-mnist puts the files.
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")

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


def _fetch(root: str) -> object:
    from torchvision.datasets import FashionMNIST  # a slow import that other data sets do not need

    return FashionMNIST(root, download=True)


def _files() -> IdxFiles:
    return IdxFiles(
        facts=FACTS,
        train="train",
        test="t10k",
        below=(Path("FashionMNIST", "raw"),),
        fetch=_fetch,
        default=DEBIAN_FOLDER,
    )


FACTS = DatasetFacts(
    title="Fashion-MNIST",
    shape="1x28x28",
    classes="10",
    train="60,000",
    test="10,000",
    obtain=(
        "install Debian's package dataset-fashion-mnist, "
        "name the folder of the four IDX files by --data-dir, or add --download"
    ),
    look=lambda data_dir: find_idx_set(_files(), data_dir),
)

# Of the 60,000 training images, by this toolkit's `pooled_scale`: 0.286041 and 0.353024.
CONSTANTS = ChannelConstants(mean=(0.2860,), deviation=(0.3530,), source="computed from Debian's dataset-fashion-mnist")


@described_by(FACTS)
def load_fashion_mnist(*, data_dir: Path | None = None, download: bool = False) -> ImageDataset:
    """Clothes in grey (Xiao et al., 2017); Debian's package, a folder or a download.

    Args:
        data_dir: folder of the four ``*-ubyte[.gz]`` files; by default Debian's folder.
        download: fetch the files into ``data_dir`` by torchvision when they are not there.
    """
    folder, (train_images, train_labels, test_images, test_labels) = load_idx_set(_files(), data_dir, download)
    return ImageDataset(
        name="fashion-mnist",
        source=f"Fashion-MNIST, IDX files in {folder}",
        classes=CLASSES,
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        constants=CONSTANTS,
    )
