"""Read files of unknown origin: regular files only, of a size that the caller states, text and nesting checked.

A pipe or a device is refused without waiting for it. Nothing else in the package opens a file to read it;
``tests/test_architecture.py`` keeps that. The functions raise OSError where the system refuses a file, and ValueError
(in one line) where what it holds is refused; `reason` says either in a few words.
"""

import errno
import io
import json
import math
import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any

# No file of this project comes near it.
MOST_NESTING = 64

# Of a configuration, preset or set of profiles; the project's own have a few KiB.
LARGEST_TOML_BYTES = 2**20

# What TOML gives its integers; Python reads more, and then cannot write them.
LARGEST_TOML_INTEGER = 2**63 - 1

# Characters of a text in TOML: longer than any path, title or description of a plug-in.
LONGEST_TOML_TEXT = 10_000

# Digits of a number in JSON; Python itself refuses to read integers of more than 4300.
MOST_DIGITS = 400


def open_regular(path: Path, *, most_bytes: int) -> io.BufferedReader:
    """Open a file to read bytes, if it is a regular one (or a link to one) of at most ``most_bytes``."""
    # Before it is opened: opening some devices has effects.
    _require_regular(path.stat(), path, most_bytes)
    # A pipe in its place by now: do not wait for its writer.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    try:
        _require_regular(os.fstat(descriptor), path, most_bytes)
        return os.fdopen(descriptor, "rb")
    except BaseException:  # Ctrl-C too: the descriptor is closed, and what happened is raised again
        os.close(descriptor)
        raise


def require_regular(path: Path, *, most_bytes: int) -> None:
    """Return if a file may be handed to a library that opens it by itself: it is regular, and within the size."""
    open_regular(path, most_bytes=most_bytes).close()


def read_bytes(path: Path, *, most_bytes: int) -> bytes:
    """Return what a file holds."""
    with open_regular(path, most_bytes=most_bytes) as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:  # it has grown, or the system does not know its size
        raise ValueError(_too_large(most_bytes))
    return data


def read_text(path: Path, *, most_bytes: int) -> str:
    """Return the text of a UTF-8 file, with or without a byte-order mark."""
    return _decoded(read_bytes(path, most_bytes=most_bytes))


def read_json(path: Path, *, most_bytes: int) -> Any:
    """Return what a JSON file holds; NaN, infinities and nesting beyond `MOST_NESTING` are refused."""
    return parse_json(read_bytes(path, most_bytes=most_bytes))


def parse_json(data: bytes, *, unique_keys: bool = False) -> Any:
    """Return what a JSON text holds, on the terms of `read_json`; on demand objects that repeat a key are refused."""
    try:
        value = json.loads(
            _decoded(data),
            parse_constant=_no_number,
            parse_float=_finite,
            parse_int=_integer,
            object_pairs_hook=_unique if unique_keys else None,
        )
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    _require_shallow(value)
    return value


def read_toml(path: Path, *, most_bytes: int) -> dict[str, Any]:
    """Return the tables of a TOML file; nesting, integers and texts beyond the bounds above are refused."""
    return parse_toml(read_text(path, most_bytes=most_bytes))


def parse_toml(text: str) -> dict[str, Any]:
    """Return the tables of a TOML text, within the same bounds.

    Raises:
        ValueError: it is no TOML, or beyond them.
    """
    if _LONG_KEY.search(text):  # before parsing, whose time grows with the square of it
        raise ValueError(_TOO_DEEP)
    try:
        tables = tomllib.loads(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    _require_shallow(tables)
    _require_small([tables])
    return tables


def reason(error: Exception) -> str:
    """Return why a file cannot be read, without its path, in a few words."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


_TOO_DEEP = f"nested more than {MOST_NESTING} levels deep"

# A dotted key a.b.c of more parts than may be nested; it begins where a part begins, so that the search is linear.
_PART = r"""(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')"""
_LONG_KEY = re.compile(rf"(?<![A-Za-z0-9_-]){_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{MOST_NESTING}}}")


def _require_regular(status: os.stat_result, path: Path, most_bytes: int) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a regular file but a pipe, device or socket: put its content into a file")
    if status.st_size > most_bytes:
        raise ValueError(_too_large(most_bytes))


def _too_large(most_bytes: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if most_bytes >= size:
            return f"larger than {most_bytes / size:.4g} {unit}"
    return f"larger than {most_bytes} bytes"


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = f"byte 0x{data[error.start]:02x} at position {error.start}"
        raise ValueError(f"not UTF-8 text ({where}): save it as UTF-8") from None


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:20]} is beyond the largest number")
    return number


def _integer(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"an integer of {len(text):,} digits")
    return int(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _require_small(containers: list[Any]) -> None:
    """Refuse texts and integers beyond TOML's bounds, in containers that are nested within theirs."""
    while containers:
        for container in containers:
            for thing in container.values() if isinstance(container, dict) else container:
                if isinstance(thing, int) and not -LARGEST_TOML_INTEGER - 1 <= thing <= LARGEST_TOML_INTEGER:
                    raise ValueError("an integer of more than 64 bits")
                if isinstance(thing, str) and len(thing) > LONGEST_TOML_TEXT:
                    raise ValueError(f"a text of {len(thing):,} characters")
        containers = [inner for outer in containers for inner in _containers(outer)]


def _require_shallow(value: object) -> None:
    level, containers = 0, _containers([value])
    while containers:
        level += 1
        if level > MOST_NESTING:
            raise ValueError(_TOO_DEEP)
        containers = [inner for outer in containers for inner in _containers(outer)]


def _containers(things: list[Any] | dict[str, Any]) -> list[list[Any] | dict[str, Any]]:
    values = things.values() if isinstance(things, dict) else things
    return [thing for thing in values if isinstance(thing, dict | list)]
