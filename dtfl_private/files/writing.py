"""Files that are either whole or absent, also after a crash."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dtfl_private.errors import InputError


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable (POSIX; elsewhere the system decides)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def output_path(given: Path | str) -> Path:
    """Return the path that a user named for what is to be written, with ``~`` as the shell reads it.

    Raises:
        InputError: an empty name, or a user whose home is not known.
    """
    if not str(given).strip():
        raise InputError("'' is refused as the name of an output: name a file or a folder")
    path = Path(os.path.expanduser(given))  # noqa: PTH111 - Path would take ./~ for ~
    if not str(path).startswith("~"):
        return path
    if str(given).startswith("~"):
        raise InputError(f"'{given}' is refused: there is no such user's home folder; write ./{given} for a name")
    return path.absolute()  # so that nobody takes it for a home folder later


def write_synced(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write a new file and wait until it is on the disk. What is there already is not opened: it may be a link.

    Nobody but its owner can ever read a ``private`` one (POSIX).
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags, 0o600 if private else 0o666), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def new_folder(path: Path, what: str) -> Iterator[Path]:
    """Give a draft of a new folder to fill, which takes its name when the block ends; an error leaves nothing behind.

    Args:
        path: of the folder, which must not be there or be empty; the folders above it are made.
        what: how the error begins, as "run folder 'x' cannot be made".

    Raises:
        InputError: it cannot be made there, with the system's reason.
    """
    draft = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)  # of a killed process that had the same number
    try:
        draft.mkdir(parents=True)
        yield draft
        for inner, _, _ in os.walk(draft):
            sync_folder(Path(inner))
        draft.rename(path)
        sync_folder(path.parent)
    except (OSError, UnicodeEncodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{what}: {reason}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def write_atomic(path: Path, data: bytes, *, private: bool = False) -> None:
    """Replace a file's content in one step: readers see the old content or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)  # of a write that was killed
    write_synced(temporary, data, private=private)
    temporary.replace(path)
    sync_folder(path.parent)


def require_writable(folder: Path, what: str) -> None:
    """Check that files can be made in a folder, or that it can be made itself; leave nothing behind.

    A file is really made: what permissions say is not all that there is to it, and does not hold for everybody.

    Args:
        folder: the folder, which need not be there.
        what: how the error begins, as "run folder 'x' cannot be made".

    Raises:
        InputError: it cannot be written, with the system's reason.
    """
    try:
        place = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        with tempfile.TemporaryFile(dir=place):
            pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{what}: {reason}") from None


def require_file_or_nothing(path: Path, what: str) -> None:
    """Check that a file which a user named for results may be replaced: a pipe or a device must not be.

    Args:
        path: of the file.
        what: how the error begins, as "'x' cannot be written".

    Raises:
        InputError: what is there is no regular file.
    """
    if path.is_dir():
        raise InputError(f"{what}: it is a folder")
    if path.exists() and not path.is_file():
        raise InputError(f"{what}: it is a pipe, device or socket, expected a file")


def require_usable(folder: Path) -> None:
    """Check that a folder of results, which need not be there, can be written; leave nothing behind.

    Raises:
        InputError: see `require_writable`.
    """
    require_writable(folder, f"folder '{folder}' cannot be {'written' if folder.is_dir() else 'made'}")


def path_text(path: Path) -> str:
    """Return a path as text that any file can hold: UTF-8 whatever the system's encoding is, other bytes escaped."""
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")
