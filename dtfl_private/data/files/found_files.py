"""Files in folders, found but not read: which there are, and which of them are the test set."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from dtfl_private.errors import InputError

# Deeper trees than this are no data set; following them would have no end that is known.
MOST_LEVELS = 32

# Folders that file servers and archivers leave behind; they hold small copies of images, or nothing.
NOT_DATA = frozenset({"@eadir", "__macosx"})


@dataclass(frozen=True, kw_only=True)
class FileKind:
    """The files that a data set is made of.

    suffixes: of their names, in small letters.
    one, many: what one of them holds, and several.
    wanted: one of the files, in words.
    """

    suffixes: frozenset[str]
    one: str
    many: str
    wanted: str


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """A file of a data set.

    name: path relative to the data set's folder, with forward slashes.
    client: whose file it is, where the data say so.
    """

    name: str
    label: int
    bytes: int
    mtime_ns: int
    client: int | None = None


def folders_in(root: Path, *, links: bool = True) -> list[str]:
    """Return the names of the folders in a folder, sorted; hidden ones, ``@eaDir`` and ``__MACOSX`` are left out.

    Args:
        root: the folder to look into.
        links: whether links to folders count.

    Raises:
        InputError: the folder cannot be read, or a link in it leads back to it.
    """
    names = []
    for entry in _entries(root):
        if _is_folder(entry) and (links or not entry.is_symlink()):
            if entry.is_symlink() and root.resolve().is_relative_to(Path(entry.path).resolve()):
                raise InputError(f"{entry.path} is a link to a folder that it lies in itself: remove it")
            names.append(entry.name)
    return sorted(names)


def files_below(root: Path, folder: str, label: int, client: int | None = None, *, kind: FileKind) -> list[DataFile]:
    """Return the files of a kind in a folder of ``root`` and in its subfolders, sorted by name.

    Hidden files, ``@eaDir``, ``__MACOSX`` and files of other kinds are left out; links to folders are not followed, so
    that there are no loops.

    Raises:
        InputError: there are none, a folder or file cannot be read, or lies more than `MOST_LEVELS` folders deep.
    """
    files = [
        DataFile(name=name, label=label, bytes=status.st_size, mtime_ns=status.st_mtime_ns, client=client)
        for name, status in _walk(root, folder, kind.suffixes)
    ]
    if not files:
        raise InputError(f"{root / folder} holds no {kind.wanted}: put {kind.many} there, or remove it")
    return sorted(files, key=lambda file: file.name)


def chosen_for_test(names: Iterable[str], share: float) -> set[str]:
    """Return the names that go to the test set: a share of them, at least one and never all.

    The names with the smallest SHA-256 are taken: no seed, the same on every machine, and unrelated to their order.
    """
    ordered = sorted(names, key=lambda name: hashlib.sha256(os.fsencode(name)).digest())
    return set(ordered[: min(max(1, round(share * len(ordered))), len(ordered) - 1)])


def _walk(root: Path, folder: str, suffixes: frozenset[str]) -> Iterator[tuple[str, os.stat_result]]:
    waiting = [(folder, 0)]
    while waiting:
        folder, level = waiting.pop()
        if level > MOST_LEVELS:
            raise InputError(
                f"{root / folder} lies {level} folders deep, at most {MOST_LEVELS} are followed: remove it"
            )
        for entry in _entries(root / folder):
            name = f"{folder}/{entry.name}" if folder else entry.name
            if _is_folder(entry):
                if not entry.is_symlink():
                    waiting.append((name, level + 1))
            elif PurePath(name).suffix.lower() in suffixes:
                try:
                    yield name, entry.stat()
                except OSError as error:
                    raise _unreadable(entry.path, error) from None


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [
                entry for entry in entries if not entry.name.startswith(".") and entry.name.casefold() not in NOT_DATA
            ]
    except OSError as error:
        raise _unreadable(folder, error) from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        raise _unreadable(entry.path, error) from None


def _unreadable(path: Path | str, error: OSError) -> InputError:
    return InputError(f"{path} cannot be read ({error.strerror}): check that it exists and may be read")
