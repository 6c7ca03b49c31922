"""A user's own images: any class-per-folder tree of PNG or JPEG files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from dtfl_private.data.dataset import ImageDataset
from dtfl_private.data.facts import DatasetFacts, described_by
from dtfl_private.data.files.image_files import ImageFile, ImageFiles, chosen_for_test, folders_in, images_below
from dtfl_private.data.files.pixels import PixelFormat, Side
from dtfl_private.errors import InputError
from dtfl_private.printable import short_name

# Of more classes only these are named.
CLASSES_NAMED = 20

Share = Annotated[float, Field(gt=0, lt=1)]

_Listed = tuple[tuple[str, ...], list[ImageFile], list[ImageFile], list[str]]
"""Classes, training and test files of a tree, and what to say of it."""

# What the folders of a tree that brings its own split are called, in any case of letters.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "valid",
    "valid": "valid",
    "validation": "valid",
    "test": "test",
    "testing": "test",
}


def _look(data_dir: Path | None) -> str | None:
    if data_dir is None or not data_dir.is_dir():
        return None
    count = len(folders_in(data_dir))
    return f"{data_dir}: {count} folders" if count else None


FACTS = DatasetFacts(
    title="image-folder",
    shape="CxHxW",
    classes="its folders",
    train="80%, or its own split",
    test="20%",
    obtain="name by --data-dir the folder that holds one folder of PNG or JPEG images for each class",
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
    valid: Literal["drop", "join"] = "drop",
    background: Literal["none", "white"] = "none",
) -> ImageDataset:
    """Your own PNG or JPEG images, a folder for each class.

    The split is stratified and always the same: of each class the files whose relative paths have the
    smallest SHA-256 are the test images. A tree of folders named ``train`` (``training``), ``val`` (``valid``,
    ``validation``) and ``test`` (``testing``), in any case of letters, each with the same class folders, brings its own
    split, and the setting ``test`` does not matter; without a ``test``, the images of ``val`` are the test images.
    Folders that look like another split (they all hold the same folders) are refused instead of taken for classes.

    Args:
        data_dir: the folder of the class folders.
        download: unused, there is nowhere to download from.
        size: side in pixels of the square that all images are resized to; by default they must agree in size.
        grey: one channel instead of three.
        test: share of each class that becomes the test set.
        by_client: one level more, CLIENT/CLASS/image: whose images they are, for the partition ``natural``.
        valid: what to do with the images of ``val`` where there is a ``test``: leave them out, or train on them too.
        background: what to put transparent images on; ``none`` refuses them.
    """
    if data_dir is None or not data_dir.is_dir():
        raise FACTS.absent(data_dir)
    classes, train, held_out, notes = _listed(data_dir, test, valid, by_client=by_client)
    found = ImageFiles(
        name="image-folder",
        source=f"images in {data_dir}",
        root=data_dir,
        variant=f"test={test},by_client={by_client}" + (f",valid={valid}" if notes else ""),
        classes=classes,
        train=train,
        test=held_out,
        notes=[f"{len(classes)} classes: {_some(classes, CLASSES_NAMED)}", *notes],
    )
    return found.load(PixelFormat(size=size, grey=grey, background=None if background == "none" else background))


def _listed(root: Path, test: float, valid: Literal["drop", "join"], *, by_client: bool) -> _Listed:
    """Return what a tree holds: of clients, with a split of its own, or of class folders alone."""
    parts = _own_split(root)
    if by_client:
        if parts:
            raise InputError(
                f"{root} holds a split ({', '.join(parts.values())}), with by_client its folders are clients: "
                "name one of them by --data-dir, or leave by_client out"
            )
        classes, files = _of_clients(root)
        return classes, *_split(classes, files, test), []
    if parts:
        return _as_split(root, parts, valid)
    classes = _at_least_two(root, folders_in(root))
    _refuse_look_alikes(root, classes)
    return classes, *_split(classes, _of_classes(root, "", classes), test), []


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


def _own_split(root: Path) -> dict[str, str]:
    """Return the folders of a tree's own split by what they are (train, valid, test); empty if it brings none.

    Raises:
        InputError: a split with other folders next to it, or with two folders for one part.
    """
    folders = folders_in(root)
    named = [(SPLIT_NAMES[name.casefold()], name) for name in folders if name.casefold() in SPLIT_NAMES]
    parts = dict(named)
    if "train" not in parts or len(parts) < 2:
        return {}
    if len(parts) < len(named):
        both = ", ".join(name for _, name in named)
        raise InputError(f"{root} has two folders for one part of a split ({both}): merge them, or move one away")
    others = [name for name in folders if name not in parts.values()]
    if others:
        raise InputError(
            f"{root} holds a split ({', '.join(parts.values())}) and next to it {_some(others)}: move that away, or "
            "rename the folders if they are classes"
        )
    return parts


def _as_split(root: Path, parts: Mapping[str, str], valid: Literal["drop", "join"]) -> _Listed:
    """Return the classes, the training and the test files of a tree with its own split, and what to say of it."""
    classes = _same_classes(root, parts)
    files = {part: _of_classes(root, f"{name}/", classes) for part, name in parts.items()}
    if "test" not in files:
        note = f"there is no test folder: the images of {parts['valid']} are the test images"
        return classes, files["train"], files["valid"], [note]
    if "valid" not in files:
        return classes, files["train"], files["test"], []
    if valid == "join":
        note = f"the images of {parts['valid']} are joined to the training images"
        return classes, files["train"] + files["valid"], files["test"], [note]
    note = f"the {len(files['valid']):,} images of {parts['valid']} are left out; valid=join trains on them too"
    return classes, files["train"], files["test"], [note]


def _same_classes(root: Path, parts: Mapping[str, str]) -> tuple[str, ...]:
    classes = _at_least_two(root / parts["train"], folders_in(root / parts["train"]))
    for name in parts.values():
        if folders_in(root / name) != list(classes):
            raise InputError(f"{root / name} has other class folders than {root / parts['train']}: give both the same")
    return classes


def _refuse_look_alikes(root: Path, classes: Sequence[str]) -> None:
    """Refuse folders that all hold the same two folders or more: they are parts of a split, or clients."""
    inside = {tuple(folders_in(root / name, links=False)) for name in classes}
    shared = inside.pop()
    if not inside and len(shared) > 1:
        raise InputError(
            f"the folders of {root} ({_some(classes)}) all hold the same folders ({_some(shared)}), so they are no "
            "classes: name them train and test, or val, if they are a split, or set by_client=true if they are clients"
        )


def _some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(map(short_name, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")


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
