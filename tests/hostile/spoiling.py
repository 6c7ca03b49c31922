"""How files are spoiled: bytes flipped, cut and planted; values of documents replaced; the file itself replaced."""

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomli_w
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from dtfl_private.errors import DtflError, InputError, RunError

# Deterministic and bounded: the same cases every time, none of them timed.
BOUNDED: dict[str, Any] = {
    "derandomize": True,
    "deadline": None,
    "database": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
}


def examples(count: int) -> settings:
    return settings(max_examples=count, **BOUNDED)


PLANTED = (
    *(b"\x1b]0;evil\x07\x1b[2J", b"\xff\xfe", b"\x00", b"\xef\xbb\xbf", b"[red]", "\u202e".encode(), b"\xed\xa0\x80"),
    *(b"[" * 2000, b'{"a":' * 2000, b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"0x" + b"f" * 5000),
    *(b'"\\ud800"', b"x" * 10_000, b"\n", b'"', b"= 1979-05-27\n", b".a" * 500, b"{{7*7}}", b"../../etc/passwd"),
)

# In place of one value of a document.
VALUES = (
    *(None, True, -1, 0, 1, 2**31, 2**63, 10**30, -0.5, 1e308, 5e-324, "", "x" * 10_000, "\x1b[31m\x07", "\udcff"),
    *("../../etc/passwd", "$\\frac{$", "[red]x[/red]", "<script>", [], {}, [[]], {"a": 1}, [None] * 50, {"0": -1}),
)


def bytes_of(whole: bytes) -> st.SearchStrategy[bytes]:
    """Return texts that are nearly ``whole``, and some that are nothing like it."""
    place = st.integers(0, max(0, len(whole) - 1))
    flipped = st.tuples(place, st.integers(0, 7)).map(lambda hit: _flip(whole, *hit))
    cut = place.map(lambda end: whole[:end])
    planted = st.tuples(place, st.sampled_from(PLANTED), st.integers(0, 8)).map(
        lambda hit: whole[: hit[0]] + hit[1] + whole[hit[0] + hit[2] :]
    )
    return st.one_of(planted, flipped, cut, st.sampled_from(PLANTED), st.binary(max_size=40))


def _flip(whole: bytes, place: int, bit: int) -> bytes:
    data = bytearray(whole)
    data[place] ^= 1 << bit
    return bytes(data)


def documents_of(whole: Any) -> st.SearchStrategy[Any]:
    """Return documents that differ from ``whole`` in one value: another one, none, or one more."""
    places = list(_places(whole, ()))
    return st.tuples(st.sampled_from(places), st.sampled_from(VALUES), st.sampled_from(["put", "drop", "add"])).map(
        lambda change: _changed(whole, *change)
    )


def _places(thing: Any, above: tuple[Any, ...]) -> Any:
    inner = thing.items() if isinstance(thing, dict) else enumerate(thing) if isinstance(thing, list) else ()
    for key, value in inner:
        yield (*above, key)
        yield from _places(value, (*above, key))


def _changed(whole: Any, place: tuple[Any, ...], value: Any, how: str) -> Any:
    changed = copy.deepcopy(whole)
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    if how == "drop":
        del inner[place[-1]]
    elif how == "add" and isinstance(inner, dict):
        inner[value if isinstance(value, str) else "\x1b[31m"] = value
    else:
        inner[place[-1]] = value
    return changed


def json_of(whole: Any) -> st.SearchStrategy[bytes]:
    """Return spoiled texts of a JSON document, half of them still JSON."""
    text = json.dumps(whole).encode()
    return st.one_of(documents_of(whole).map(lambda document: json.dumps(document).encode()), bytes_of(text))


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(20 * 10**9)


def _folder(path: Path) -> None:
    path.mkdir()


def _loop(path: Path) -> None:
    path.symlink_to(path)


# In place of the file.
IN_PLACE: dict[str, Callable[[Path], None]] = {
    "pipe": _pipe,
    "device": _device,
    "sparse file of 20 GB": _sparse,
    "folder": _folder,
    "link to itself": _loop,
}


def toml_of(whole: dict[str, object]) -> st.SearchStrategy[bytes]:
    """Return spoiled texts of a TOML document, about half of them still TOML."""
    return st.one_of(documents_of(whole).map(as_toml), bytes_of(tomli_w.dumps(whole).encode()))


def as_toml(document: dict[str, object]) -> bytes:
    try:
        return tomli_w.dumps(document).encode()
    except (TypeError, ValueError):  # what TOML cannot say: null, half a surrogate pair
        return b"rounds = 0x" + b"f" * 5000


def as_line(document: object) -> bytes:
    return json.dumps(document).encode() + b"\n"


def refused_or_done(act: Callable[[], object]) -> None:
    """Do it; the only errors may be the project's own, in one line that may be shown."""
    error = refusal(act)
    assert error is None or (isinstance(error, InputError | RunError) and str(error).isprintable())


def refusal(act: Callable[[], object]) -> DtflError | None:
    try:
        act()
    except DtflError as error:
        return error
    return None
