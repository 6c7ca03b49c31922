"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009) by torchvision, which checks the published MD5 of each file first."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dtfl_private.data.dataset import ChannelConstants, ImageDataset
from dtfl_private.data.facts import DatasetFacts, described_by, first_folder_with
from dtfl_private.data.files.checksums import refused

if TYPE_CHECKING:
    from torch import Tensor
    from torchvision.datasets import CIFAR10

# The 20 superclasses of CIFAR-100 and their five classes each, in the order of their labels (www.cs.toronto.edu/~kriz).
SUPERCLASSES = {
    "aquatic_mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food_containers": "bottle bowl can cup plate",
    "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
    "household_electrical_devices": "clock keyboard lamp telephone television",
    "household_furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large_carnivores": "bear leopard lion tiger wolf",
    "large_man-made_outdoor_things": "bridge castle house road skyscraper",
    "large_natural_outdoor_scenes": "cloud forest mountain plain sea",
    "large_omnivores_and_herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium_mammals": "fox porcupine possum raccoon skunk",
    "non-insect_invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small_mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles_1": "bicycle bus motorcycle pickup_truck train",
    "vehicles_2": "lawn_mower rocket streetcar tank tractor",
}


def _facts(title: str, folder: str, classes: str) -> DatasetFacts:
    def look(data_dir: Path | None) -> str | None:
        found = data_dir and first_folder_with(folder, data_dir)
        return str(found / folder) if found else None

    return DatasetFacts(
        title=title,
        shape="3x32x32",
        classes=classes,
        train="50,000",
        test="10,000",
        obtain=f"name the folder that holds {folder} by --data-dir, or add --download to fill it",
        look=look,
    )


CIFAR10_FACTS = _facts("CIFAR-10", "cifar-10-batches-py", "10")
CIFAR100_FACTS = _facts("CIFAR-100", "cifar-100-python", "100, or 20 with labels=coarse")


# Of the 50,000 training images of each.
CIFAR10_CONSTANTS = ChannelConstants(
    mean=(0.4914, 0.4822, 0.4465),
    deviation=(0.2470, 0.2435, 0.2616),
    source="Liu, Simonyan and Yang 2019, DARTS (1806.09055), cnn/utils.py of its code, rounded",
)
CIFAR100_CONSTANTS = ChannelConstants(
    mean=(0.5071, 0.4865, 0.4409),
    deviation=(0.2673, 0.2564, 0.2762),
    source="weiaicunzai/pytorch-cifar100, conf/global_settings.py, rounded",
)


@described_by(CIFAR10_FACTS)
def load_cifar10(*, data_dir: Path | None = None, download: bool = False) -> ImageDataset:
    """Objects in colour (Krizhevsky, 2009); a folder or a download.

    The batches are Python pickles: torchvision opens them only when their MD5 is the published one.

    Args:
        data_dir: folder that holds ``cifar-10-batches-py``.
        download: fetch the files into ``data_dir`` when they are not there.
    """
    from torchvision.datasets import CIFAR10

    return _load_parts(CIFAR10, "cifar-10", CIFAR10_FACTS, CIFAR10_CONSTANTS, data_dir, download)


@described_by(CIFAR100_FACTS)
def load_cifar100(
    *, data_dir: Path | None = None, download: bool = False, labels: Literal["fine", "coarse"] = "fine"
) -> ImageDataset:
    """Objects in colour of 100 classes (Krizhevsky, 2009); a folder or a download.

    The files are Python pickles: torchvision opens them only when their MD5 is the published one.

    Args:
        data_dir: folder that holds ``cifar-100-python``.
        download: fetch the files into ``data_dir`` when they are not there.
        labels: the 100 classes, or their 20 superclasses.
    """
    from torchvision.datasets import CIFAR100

    dataset = _load_parts(CIFAR100, "cifar-100", CIFAR100_FACTS, CIFAR100_CONSTANTS, data_dir, download)
    return dataset if labels == "fine" else _coarse(dataset)


def _load_parts(
    kind: "type[CIFAR10]",
    name: str,
    facts: DatasetFacts,
    constants: ChannelConstants,
    data_dir: Path | None,
    download: bool,
) -> ImageDataset:
    if data_dir is None:
        raise facts.absent(None)
    try:
        train_images, train_labels, classes = _part(kind, data_dir, True, download)
        test_images, test_labels, _ = _part(kind, data_dir, False, download)
    except (OSError, RuntimeError) as error:
        raise refused(facts, data_dir, _published(kind), error, download) from None
    return ImageDataset(
        name=name,
        source=f"{facts.title}, checksums verified, in {data_dir}",
        classes=classes,
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        constants=constants,
    )


def _published(kind: "type[CIFAR10]") -> dict[str, str]:
    """Return the published MD5 of each file, by its path below the data folder."""
    files = [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
    return {f"{kind.base_folder}/{name}": md5 for name, md5 in files}


def _part(
    kind: "type[CIFAR10]", data_dir: Path, train: bool, download: bool
) -> "tuple[Tensor, Tensor, tuple[str, ...]]":
    """Return images (N, 3, 32, 32), labels and class names; torchvision's (N, 32, 32, 3) is a view of what we want."""
    import torch

    part = kind(str(data_dir), train=train, download=download)
    images = torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous()
    return images, torch.tensor(part.targets, dtype=torch.int64), tuple(part.classes)


def _coarse(fine: ImageDataset) -> ImageDataset:
    import torch

    superclass = {name: number for number, names in enumerate(SUPERCLASSES.values()) for name in names.split()}
    coarse_of = torch.tensor([superclass[name] for name in fine.classes])
    return ImageDataset(
        name=fine.name,
        source=f"{fine.source}, superclasses",
        classes=tuple(SUPERCLASSES),
        train_images=fine.train_images,
        train_labels=coarse_of[fine.train_labels],
        test_images=fine.test_images,
        test_labels=coarse_of[fine.test_labels],
        constants=fine.constants,
    )
