"""Files that the user names for results, and standard output."""

import json
from pathlib import Path

import click

from dtfl_private.errors import InputError
from dtfl_private.files.writing import output_path, require_writable, write_atomic


def check_targets(*targets: str | None, picture: str | None = None) -> None:
    """Check before any work that the files that the user named can be written; ``-`` is standard output.

    Args:
        targets: names of files, or None where none is asked for.
        picture: name of a PNG picture.

    Raises:
        InputError: one cannot be written, or its name is that of another kind of picture.
    """
    if picture is not None and Path(picture).suffix.lower() not in ("", ".png"):
        raise InputError(f"picture '{picture}' is refused: it is a PNG, so let its name end in .png")
    for target in (*targets, picture):
        if target is None or target == "-":
            continue
        path = output_path(target)
        if path.is_dir():
            raise InputError(f"'{target}' cannot be written: it is a folder")
        if not path.exists() or path.is_file():
            require_present(path.resolve().parent, target)


def require_present(folder: Path, target: str) -> None:
    """Check that a file can be made in a folder, which must be there."""
    if not folder.is_dir():
        raise InputError(f"'{target}' cannot be written: there is no folder '{folder}'")
    require_writable(folder, f"'{target}' cannot be written")


def write_json(target: str, value: object) -> None:
    """Write a value as JSON to a file, or to standard output for ``-``."""
    text = json.dumps(value, indent=2) + "\n"
    if target == "-":
        click.echo(text, nl=False)
        return
    write_file(target, text.encode())


def write_file(target: str, data: bytes) -> None:
    """Write a file that the user named.

    Raises:
        InputError: the system refuses it.
    """
    path = output_path(target)
    try:
        if path.exists() and not path.is_file():  # a device or a pipe is written to, not replaced
            path.write_bytes(data)
        else:
            write_atomic(path.resolve(), data)  # of a link, what it leads to
    except (OSError, ValueError) as error:
        raise InputError(f"'{target}' cannot be written: {error}") from None
