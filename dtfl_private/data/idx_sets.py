"""MNIST and the sets in its format: four IDX files each, found in a folder or fetched by torchvision."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from dtfl_private.data.facts import DatasetFacts
from dtfl_private.data.files.idx import read_idx
from dtfl_private.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

SIDE = 28


@dataclass(frozen=True, kw_only=True)
class IdxFiles:
    """Where the four files of a set lie.

    facts: names the set and says how to get it.
    train, test: what the names of the training and the test files begin with, as in ``t10k-images-idx3-ubyte``.
    below: subfolders of ``--data-dir`` that are looked into as well; the first one is where torchvision puts the files.
    default: the folder for want of a ``--data-dir``.
    fetch: downloads the files to ``below[0]`` of a folder, checksums verified.
    """

    facts: DatasetFacts
    train: str
    test: str
    below: tuple[Path, ...]
    fetch: Callable[[str], object]
    default: Path | None = None

    def names(self) -> list[str]:
        """Return the names of the four files, unpacked."""
        return [
            f"{part}-{kind}" for part in (self.train, self.test) for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
        ]


Parts: TypeAlias = "tuple[Tensor, Tensor, Tensor, Tensor]"
"""Training images (N, 1, 28, 28) uint8 and labels (N,) int64, test images and labels."""


def load_idx_set(files: IdxFiles, data_dir: Path | None, download: bool) -> "tuple[Path, Parts]":
    """Return the folder that the files were found in, and what they hold.

    Raises:
        InputError: absent, incomplete or damaged files, or a download that failed.
    """
    folder = _folder(files, data_dir, download)
    return folder, (*_read_part(files, folder, files.train), *_read_part(files, folder, files.test))


def find_idx_set(files: IdxFiles, data_dir: Path | None) -> str | None:
    """Return the folder that holds all four files, or None."""
    base = data_dir or files.default
    if base is None:
        return None
    return next((str(folder) for folder in _places(files, base) if _complete(files, folder)), None)


def _folder(files: IdxFiles, data_dir: Path | None, download: bool) -> Path:
    if download and data_dir is None:
        raise InputError("--download needs --data-dir: the folder that the files are to be put in")
    base = data_dir or files.default
    if base is None:
        raise files.facts.absent(None)
    for folder in _places(files, base):
        if any(folder.glob(f"{files.train}-*-ubyte*")) and (not download or _complete(files, folder)):
            return folder
    if not download:
        raise files.facts.absent(base)
    try:
        files.fetch(str(base))
    except (OSError, RuntimeError) as error:
        raise InputError(f"{files.facts.title} could not be downloaded to {base}: {error}") from None
    return base / files.below[0]


def _places(files: IdxFiles, base: Path) -> list[Path]:
    return [base, *(base / below for below in files.below)]


def _read_part(files: IdxFiles, folder: Path, part: str) -> "tuple[Tensor, Tensor]":
    import torch

    images_file = _existing(files, folder, f"{part}-images-idx3-ubyte")
    labels_file = _existing(files, folder, f"{part}-labels-idx1-ubyte")
    images, labels = read_idx(images_file, dimensions=3), read_idx(labels_file, dimensions=1)
    if images.shape[1:] != (SIDE, SIDE):
        raise InputError(
            f"{images_file} holds images of {images.shape[1]}x{images.shape[2]} pixels, expected {SIDE}x{SIDE}"
        )
    if len(images) != len(labels):
        raise InputError(f"{images_file} holds {len(images)} images, {labels_file.name} {len(labels)} labels")
    return torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels).long()


def _complete(files: IdxFiles, folder: Path) -> bool:
    return all((folder / name).is_file() or (folder / f"{name}.gz").is_file() for name in files.names())


def _existing(files: IdxFiles, folder: Path, name: str) -> Path:
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    raise InputError(f"{folder} has no {name}[.gz]: all four files of {files.facts.title} are needed")
