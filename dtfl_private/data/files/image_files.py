"""Image files on the disk: found in folders, decoded once through the cache."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import PIL

from dtfl_private.data.dataset import ChannelConstants, FileTreatment, ImageDataset
from dtfl_private.data.files.cache import cached
from dtfl_private.data.files.found_files import DataFile, FileKind, files_below
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

IMAGES = FileKind(suffixes=SUFFIXES, one="image", many="images", wanted="PNG or JPEG image")


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
    train: Sequence[DataFile]
    test: Sequence[DataFile]
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


def images_below(root: Path, folder: str, label: int, client: int | None = None) -> list[DataFile]:
    """Return the PNG and JPEG files in a folder of ``root`` and in its subfolders; otherwise as `files_below`."""
    return files_below(root, folder, label, client, kind=IMAGES)


def _labels(files: Sequence[DataFile]) -> "Tensor":
    import torch

    return torch.tensor([file.label for file in files])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
