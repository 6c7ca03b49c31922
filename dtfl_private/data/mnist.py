"""MNIST (LeCun, Bottou, Bengio and Haffner, 1998) from its four IDX files."""

from pathlib import Path

from dtfl_private.data.dataset import ChannelConstants, ImageDataset
from dtfl_private.data.facts import DatasetFacts, described_by
from dtfl_private.data.idx_sets import IdxFiles, find_idx_set, load_idx_set


def _fetch(root: str) -> object:
    from torchvision.datasets import MNIST  # a slow import that other data sets do not need

    return MNIST(root, download=True)


def _files() -> IdxFiles:
    return IdxFiles(facts=FACTS, train="train", test="t10k", below=(Path("MNIST", "raw"),), fetch=_fetch)


FACTS = DatasetFacts(
    title="MNIST",
    shape="1x28x28",
    classes="10",
    train="60,000",
    test="10,000",
    obtain="name the folder of the four IDX files by --data-dir, or add --download to fill it",
    look=lambda data_dir: find_idx_set(_files(), data_dir),
)

# Of the 60,000 training images.
CONSTANTS = ChannelConstants(mean=(0.1307,), deviation=(0.3081,), source="PyTorch's examples, mnist/main.py")


@described_by(FACTS)
def load_mnist(*, data_dir: Path | None = None, download: bool = False) -> ImageDataset:
    """Handwritten digits in grey (LeCun et al., 1998); a folder or a download.

    Args:
        data_dir: folder of the four ``*-ubyte[.gz]`` files.
        download: fetch the files into ``data_dir`` by torchvision when they are not there.
    """
    folder, (train_images, train_labels, test_images, test_labels) = load_idx_set(_files(), data_dir, download)
    return ImageDataset(
        name="mnist",
        source=f"MNIST, IDX files in {folder}",
        classes=tuple("0123456789"),
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        constants=CONSTANTS,
    )
