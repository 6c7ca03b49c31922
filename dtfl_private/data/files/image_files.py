"""Image files on the disk: found in folders, split into training and test, decoded once through the cache."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import PIL

from dtfl_private.data.dataset import ChannelConstants, FileTreatment, ImageDataset
from dtfl_private.data.files.cache import cached
from dtfl_private.data.files.pixels import (
    SUFFIXES,
    PixelFormat,
    TransparentImageError,
    count_transparent,
    decode_all,
    require_bounded,
)
from dtfl_private.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

# Deeper trees than this are no data set; following them would have no end that is known.
MOST_LEVELS = 32

# Folders that file servers and archivers leave behind; they hold small copies of images, or nothing.
NOT_DATA = frozenset({"@eadir", "__macosx"})


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """An image file.

    name: path relative to the data set's folder, with forward slashes.
    client: whose image it is, where the data say so.
    """

    name: str
    label: int
    bytes: int
    mtime_ns: int
    client: int | None = None


@dataclass(frozen=True, kw_only=True)
class ImageFiles:
    """A data set of image files, found but not decoded; ``train`` and ``test`` lie below ``root``, neither is empty.

    variant: the settings that chose the files; each variant has a cache entry of its own.
    notes: what a user should know of the choice, a line each.
    constants: published, to normalise by; None where there are none.
    """

    name: str
    source: str
    root: Path
    variant: str
    classes: tuple[str, ...]
    train: Sequence[ImageFile]
    test: Sequence[ImageFile]
    notes: Sequence[str] = ()
    constants: ChannelConstants | None = None

    def load(self, target: PixelFormat) -> ImageDataset:
        """Decode the images, or take them from the cache.

        Raises:
            InputError: a file that cannot be decoded, or differs in size from the others; or too much for memory.
        """
        import torch

        tensors = cached(self._stem(target), self._stamp(), lambda: self._decode(target))
        clients = [file.client for file in self.train if file.client is not None]
        return ImageDataset(
            name=self.name,
            source=self.source,
            classes=self.classes,
            train_images=tensors["train"],
            train_labels=_labels(self.train),
            test_images=tensors["test"],
            test_labels=_labels(self.test),
            client_ids=torch.tensor(clients) if clients else None,
            notes=(*self.notes, *_transparency(tensors, target)),
            constants=self.constants,
            files=FileTreatment(resized=target.size is not None, background=target.background),
        )

    def _decode(self, target: PixelFormat) -> "dict[str, Tensor]":
        import torch

        train_files = [self.root / file.name for file in self.train]
        test_files = [self.root / file.name for file in self.test]
        require_bounded([*train_files, *test_files], target)
        try:
            train, seen_through = decode_all(train_files, target)
            test, also_seen_through = decode_all(test_files, target, tuple(train.shape[1:]))
        except TransparentImageError as error:
            everything = [*train_files, *test_files]
            raise InputError(
                f"{count_transparent(everything, target):,} of {len(everything):,} images have transparent pixels, "
                f"such as {error.path}: put them on a background (image-folder does so by background=white)"
            ) from None
        tensors = {"train": train, "test": test}
        if target.background is not None:
            tensors["transparent"] = torch.tensor([seen_through + also_seen_through])
        return tensors

    def _stem(self, target: PixelFormat) -> str:
        """Name the cache entry by folder and settings: one entry each, replaced when the files change."""
        key = [str(self.root.resolve()), self.variant, target.size, target.grey]
        if target.background is not None:
            key.append(target.background)
        return f"{self.name}-{_digest(key)[:16]}"

    def _stamp(self) -> str:
        """Tell whether the files, their order and their decoder are those that the cache was made from."""
        parts = [[[file.name, file.bytes, file.mtime_ns] for file in part] for part in (self.train, self.test)]
        return _digest([PIL.__version__, parts])


def _transparency(tensors: "Mapping[str, Tensor]", target: PixelFormat) -> list[str]:
    """Return what to say of transparent images."""
    if target.background is None:
        return []
    count, whole = int(tensors["transparent"]), len(tensors["train"]) + len(tensors["test"])
    return [f"{count:,} of {whole:,} images have transparent pixels and were put on {target.background}"]


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


def images_below(root: Path, folder: str, label: int, client: int | None = None) -> list[ImageFile]:
    """Return the PNG and JPEG files in a folder of ``root`` and in its subfolders, sorted by name.

    Hidden files, ``@eaDir``, ``__MACOSX`` and files of other kinds are left out; links to folders are not followed, so
    that there are no loops.

    Raises:
        InputError: there are none, a folder or file cannot be read, or lies more than `MOST_LEVELS` folders deep.
    """
    files = [
        ImageFile(name=name, label=label, bytes=status.st_size, mtime_ns=status.st_mtime_ns, client=client)
        for name, status in _walk(root, folder)
    ]
    if not files:
        raise InputError(f"{root / folder} holds no PNG or JPEG image: put images there, or remove it")
    return sorted(files, key=lambda file: file.name)


def chosen_for_test(names: Iterable[str], share: float) -> set[str]:
    """Return the names that go to the test set: a share of them, at least one and never all.

    The names with the smallest SHA-256 are taken: no seed, the same on every machine, and unrelated to their order.
    """
    ordered = sorted(names, key=lambda name: hashlib.sha256(os.fsencode(name)).digest())
    return set(ordered[: min(max(1, round(share * len(ordered))), len(ordered) - 1)])


def _walk(root: Path, folder: str) -> Iterator[tuple[str, os.stat_result]]:
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
            elif PurePath(name).suffix.lower() in SUFFIXES:
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


def _labels(files: Sequence[ImageFile]) -> "Tensor":
    import torch

    return torch.tensor([file.label for file in files])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
