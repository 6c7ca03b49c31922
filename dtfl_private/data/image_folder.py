"""A user's own images: any class-per-folder tree of PNG or JPEG files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from dtfl_private.data.dataset import ImageDataset
from dtfl_private.data.facts import DatasetFacts, described_by
from dtfl_private.data.image_files import ImageFile, ImageFiles, chosen_for_test, folders_in, images_below
from dtfl_private.data.pixels import Side, Target
from dtfl_private.errors import InputError

Share = Annotated[float, Field(gt=0, lt=1)]

# A tree whose only folders are these brings its own split.
OWN_SPLIT = ["test", "train"]


def _look(data_dir: Path | None) -> str | None:
    if data_dir is None or not data_dir.is_dir():
        return None
    count = len(folders_in(data_dir))
    return f"{data_dir}: {count} folders" if count else None


FACTS = DatasetFacts(
    title="image-folder",
    shape="CxHxW",
    classes="its folders",
    train="80%",
    test="20%",
    obtain="the folder that holds one folder of PNG or JPEG images for each class",
    look=_look,
)


@described_by(FACTS)
def load_image_folder(
    *,
    data_dir: Path | None = None,
    download: bool = False,  # noqa: ARG001 - there is nowhere to download from
    size: Side | None = None,
    grey: bool = False,
    test: Share = 0.2,
    by_client: bool = False,
) -> ImageDataset:
    """Your own PNG or JPEG images, a folder for each class.

    The split is stratified and always the same: of each class the files whose relative paths have the
    smallest SHA-256 are the test images. A tree of just two folders ``train`` and ``test``, each with the same
    class folders, brings its own split, and the setting ``test`` does not matter.

    Args:
        data_dir: the folder of the class folders.
        download: unused, there is nowhere to download from.
        size: side in pixels of the square that all images are resized to; by default they must agree in size.
        grey: one channel instead of three.
        test: share of each class that becomes the test set.
        by_client: one level more, CLIENT/CLASS/image: whose images they are, for the partition ``natural``.
    """
    if data_dir is None or not data_dir.is_dir():
        raise FACTS.absent(data_dir)
    if by_client:
        classes, files = _of_clients(data_dir)
        train, held_out = _split(classes, files, test)
    elif folders_in(data_dir) == OWN_SPLIT:
        classes = _same_classes(data_dir)
        train, held_out = (_of_classes(data_dir, f"{part}/", classes) for part in ("train", "test"))
    else:
        classes = _at_least_two(data_dir, folders_in(data_dir))
        train, held_out = _split(classes, _of_classes(data_dir, "", classes), test)
    found = ImageFiles(
        name="image-folder",
        source=f"images in {data_dir}",
        root=data_dir,
        variant=f"test={test},by_client={by_client}",
        classes=classes,
        train=train,
        test=held_out,
    )
    return found.load(Target(size=size, grey=grey))


def _of_classes(root: Path, above: str, classes: Sequence[str]) -> list[ImageFile]:
    return [file for label, name in enumerate(classes) for file in images_below(root, above + name, label)]


def _of_clients(root: Path) -> tuple[tuple[str, ...], list[ImageFile]]:
    """Return the classes and files of CLIENT/CLASS/image; not every client need have every class."""
    there = {client: folders_in(root / client) for client in folders_in(root)}
    classes = _at_least_two(root, sorted(set().union(*there.values())))
    files = [
        file
        for number, (client, own) in enumerate(there.items())
        for name in own
        for file in images_below(root, f"{client}/{name}", classes.index(name), number)
    ]
    return classes, files


def _same_classes(root: Path) -> tuple[str, ...]:
    classes = _at_least_two(root / "train", folders_in(root / "train"))
    if folders_in(root / "test") != list(classes):
        raise InputError(f"{root / 'test'} has other class folders than {root / 'train'}: give both the same")
    return classes


def _at_least_two(root: Path, classes: Sequence[str]) -> tuple[str, ...]:
    if len(classes) < 2:
        raise InputError(f"{root} has {len(classes)} class folders, expected two at least: one folder for each class")
    return tuple(classes)


def _split(classes: Sequence[str], files: Sequence[ImageFile], share: float) -> tuple[list[ImageFile], list[ImageFile]]:
    """Return training and test files, each class split on its own."""
    held_out: set[str] = set()
    for label, name in enumerate(classes):
        members = [file.name for file in files if file.label == label]
        if len(members) < 2:
            raise InputError(f"{members[0]} is the only image of class '{name}': training and test need one each")
        held_out |= chosen_for_test(members, share)
    train = [file for file in files if file.name not in held_out]
    return train, [file for file in files if file.name in held_out]
