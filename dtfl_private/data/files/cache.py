"""The cache of decoded images: uint8 tensors in safetensors files, in the user's cache folder.

An entry is two files. ``STEM.safetensors`` holds the tensors, ``STEM.json`` the stamp of the sources that they were
decoded from, their size in bytes and their SHA-256. Both are written under another name and renamed, the JSON last;
several processes may do so at once, because the file of a name is always whole. A read verifies the very memory
that it returns: an entry that is torn, mixed or changed is said to be damaged (a warning in the log of this module)
and made anew. Deleting the folder at any time does no harm.
"""

import hashlib
import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from safetensors import SafetensorError, safe_open

from dtfl_private.errors import InputError
from dtfl_private.files import reading

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
LARGEST_ABOUT_BYTES = 2**16

log = logging.getLogger(__name__)

Tensors: TypeAlias = "dict[str, Tensor]"


def cache_folder() -> Path:
    """Return the user's cache folder: $DTFL_PRIVATE_CACHE, or the platform's own place for caches."""
    if own := os.environ.get("DTFL_PRIVATE_CACHE"):
        return Path(own)
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        return Path(xdg, "dtfl-private")
    try:
        home = Path.home()
    except RuntimeError:
        raise InputError("there is no home folder for the cache: set DTFL_PRIVATE_CACHE to a folder") from None
    places = {
        "darwin": home / "Library" / "Caches" / "dtfl-private",
        "win32": Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "dtfl-private" / "Cache",
    }
    return places.get(sys.platform, home / ".cache" / "dtfl-private")


def cached(stem: str, stamp: str, build: "Callable[[], Tensors]") -> Tensors:
    """Return the tensors of an entry, decoding them if there is none for this stamp.

    What comes from the cache is mapped from the file, privately: processes share its pages, and changes stay here.

    Args:
        stem: name of the entry's files; a change of the stamp replaces them.
        stamp: tells the sources apart: names, sizes and times of the files.
        build: decodes the sources into uint8 tensors. If it raises, nothing is written.
    """
    folder = cache_folder()
    found = _read(folder, stem, stamp)
    if found is not None:
        log.debug("read decoded images of %s from the cache %s", stem, folder)
        return found
    log.debug("decoding images of %s, which are not in the cache %s", stem, folder)
    tensors = build()
    try:
        _write(folder, stem, stamp, tensors)
    except (OSError, SafetensorError) as error:
        log.warning("cache %s cannot be written (%s): images are decoded again next time", folder, error)
        return tensors
    # The file's pages, which the system shares and can reclaim, replace the decoded copy, which ends here.
    return _read(folder, stem, stamp) or tensors


def _read(folder: Path, stem: str, stamp: str) -> "Tensors | None":
    """Return the entry's tensors; None if there is no entry, it is of other sources, or damaged (which is logged)."""
    about, data = folder / f"{stem}.json", folder / f"{stem}.safetensors"
    try:
        expected = reading.read_json(about, most_bytes=LARGEST_ABOUT_BYTES)
        if (expected["format"], expected["stamp"]) != (FORMAT, stamp):
            return None
        if data.stat().st_size != expected["bytes"]:
            raise ValueError(f"{data.stat().st_size} bytes instead of {expected['bytes']}")
        reading.require_regular(data, most_bytes=expected["bytes"])
        with safe_open(data, framework="pt") as file:  # numbers only: safetensors hold no code
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
        if _sha256(tensors) != expected["sha256"]:
            raise ValueError("another SHA-256 than it was written with")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        log.warning("cache %s is damaged (%s): decoding the images again", data, error)
        return None
    return tensors


def _write(folder: Path, stem: str, stamp: str, tensors: Tensors) -> None:
    import safetensors.torch

    folder.mkdir(parents=True, exist_ok=True)
    data = folder / f"{stem}.safetensors"
    size = _replace(data, lambda path: safetensors.torch.save_file(tensors, path))
    about = {"format": FORMAT, "stamp": stamp, "bytes": size, "sha256": _sha256(tensors)}
    _replace(data.with_suffix(".json"), lambda path: path.write_text(json.dumps(about, indent=2) + "\n", "utf-8"))


def _replace(path: Path, write: Callable[[Path], object]) -> int:
    """Let ``write`` make a file next to ``path`` and move it there; return its size. A failure leaves nothing."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        write(temporary)
        size = temporary.stat().st_size
        temporary.replace(path)
    except BaseException:  # Ctrl-C too: no half-written file is left, and what happened is raised again
        with suppress(OSError):
            temporary.unlink()
        raise
    return size


def _sha256(tensors: "Mapping[str, Tensor]") -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()
