"""Trees of a folder for each class: the classes, the training and the test files.

The split is stratified and always the same: of each class the files whose relative paths have the smallest SHA-256 are
the test set, unless the tree brings its own split.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from dtfl_private.data.files.found_files import DataFile, FileKind, chosen_for_test, files_below, folders_in
from dtfl_private.errors import InputError
from dtfl_private.printable import short_name

# Of more classes only these are named.
CLASSES_NAMED = 20

Share = Annotated[float, Field(gt=0, lt=1)]

Listed = tuple[tuple[str, ...], list[DataFile], list[DataFile], list[str]]
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


def listed(root: Path, kind: FileKind, test: float, valid: Literal["drop", "join"], *, by_client: bool) -> Listed:
    """Return what a tree holds: of clients, with a split of its own, or of class folders alone.

    Args:
        root: the tree.
        kind: of files.
        test: share of each class that becomes the test set, where the tree brings no split.
        valid: what to do with files for validation where there are some for the test.
        by_client: whether there is one level more, CLIENT/CLASS/file.

    Raises:
        InputError: it is no such tree, or holds too little.
    """
    parts = _own_split(root)
    if by_client:
        if parts:
            raise InputError(
                f"{root} holds a split ({', '.join(parts.values())}), with by_client its folders are clients: "
                "name one of them by --data-dir, or leave by_client out"
            )
        classes, files = _of_clients(root, kind)
        return classes, *_split(classes, files, test, kind), []
    if parts:
        return _as_split(root, kind, parts, valid)
    classes = _at_least_two(root, folders_in(root))
    _refuse_look_alikes(root, classes)
    return classes, *_split(classes, _of_classes(root, kind, "", classes), test, kind), []


def _of_classes(root: Path, kind: FileKind, above: str, classes: Sequence[str]) -> list[DataFile]:
    return [file for label, name in enumerate(classes) for file in files_below(root, above + name, label, kind=kind)]


def _of_clients(root: Path, kind: FileKind) -> tuple[tuple[str, ...], list[DataFile]]:
    """Return the classes and files of CLIENT/CLASS/file; not every client need have every class."""
    there = {client: folders_in(root / client) for client in folders_in(root)}
    classes = _at_least_two(root, sorted(set().union(*there.values())))
    files = [
        file
        for number, (client, own) in enumerate(there.items())
        for name in own
        for file in files_below(root, f"{client}/{name}", classes.index(name), number, kind=kind)
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
            f"{root} holds a split ({', '.join(parts.values())}) and next to it {some_of(others)}: move that away, or "
            "rename the folders if they are classes"
        )
    return parts


def _as_split(root: Path, kind: FileKind, parts: Mapping[str, str], valid: Literal["drop", "join"]) -> Listed:
    """Return the classes, the training and the test files of a tree with its own split, and what to say of it."""
    classes = _same_classes(root, parts)
    files = {part: _of_classes(root, kind, f"{name}/", classes) for part, name in parts.items()}
    if "test" not in files:
        note = f"there is no test folder: the {kind.many} of {parts['valid']} are the test {kind.many}"
        return classes, files["train"], files["valid"], [note]
    if "valid" not in files:
        return classes, files["train"], files["test"], []
    if valid == "join":
        note = f"the {kind.many} of {parts['valid']} are joined to the training {kind.many}"
        return classes, files["train"] + files["valid"], files["test"], [note]
    note = f"the {len(files['valid']):,} {kind.many} of {parts['valid']} are left out; valid=join trains on them too"
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
            f"the folders of {root} ({some_of(classes)}) all hold the same folders ({some_of(shared)}), so they are no "
            "classes: name them train and test, or val, if they are a split, or set by_client=true if they are clients"
        )


def some_of(names: Sequence[str], most: int = 3) -> str:
    """Return a few names in words, and how many there are besides."""
    return ", ".join(map(short_name, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")


def _at_least_two(root: Path, classes: Sequence[str]) -> tuple[str, ...]:
    if len(classes) < 2:
        raise InputError(f"{root} has {len(classes)} class folders, expected two at least: one folder for each class")
    return tuple(classes)


def _split(
    classes: Sequence[str], files: Sequence[DataFile], share: float, kind: FileKind
) -> tuple[list[DataFile], list[DataFile]]:
    """Return training and test files, each class split on its own."""
    held_out: set[str] = set()
    for label, name in enumerate(classes):
        members = [file.name for file in files if file.label == label]
        if len(members) < 2:
            raise InputError(f"{members[0]} is the only {kind.one} of class '{name}': training and test need one each")
        held_out |= chosen_for_test(members, share)
    train = [file for file in files if file.name not in held_out]
    return train, [file for file in files if file.name in held_out]
