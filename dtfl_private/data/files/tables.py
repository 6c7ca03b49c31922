"""Tables of unknown origin: CSV, TSV and JSON lines, of which columns are asked for by name."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from dtfl_private.errors import InputError
from dtfl_private.files import reading
from dtfl_private.printable import short_name

SUFFIXES = (".csv", ".tsv", ".jsonl")

# Of a table's columns only so many are named in an error.
COLUMNS_NAMED = 20


def read_columns(path: Path, columns: Sequence[str], *, most_bytes: int) -> list[tuple[str, ...]]:
    """Return the values of these columns in every row, as texts, and where each row is, in words, behind them.

    CSV is of RFC 4180 (commas, double quotes); TSV has no quotes; both begin with the columns' names. JSON lines are
    objects. All are UTF-8.

    Raises:
        InputError: the file cannot be read, is damaged, or has no such column or no rows.
    """
    try:
        text = reading.read_text(path, most_bytes=most_bytes)
        rows = list(_of_objects(text, path, columns) if _ending(path) == ".jsonl" else _of_fields(text, path, columns))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {reading.reason(error)}") from None
    if not rows:
        raise InputError(f"{path} has no rows: expected one for each text")
    return rows


def _ending(path: Path) -> str:
    return path.suffix.lower()


def _of_fields(text: str, path: Path, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    plain = _ending(path) == ".tsv"
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter="\t" if plain else ",",
        quoting=csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL,
        strict=True,
    )
    try:
        names = next(reader, [])
        places = [_place(name, names, path) for name in columns]
        for row in reader:
            if not row:  # an empty line
                continue
            where = f"{path}, line {reader.line_num}"
            if len(row) != len(names):
                raise InputError(f"{where}: {len(row)} fields, expected {len(names)} as in the first line")
            yield *(row[place] for place in places), where
    except csv.Error as error:
        remedy = ": shorten it, or save the table as .jsonl" if "field limit" in str(error) else ""
        raise InputError(f"{path}, line {reader.line_num} cannot be read: {error}{remedy}") from None


def _of_objects(text: str, path: Path, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = reading.parse_json(line.encode(errors="surrogatepass"), unique_keys=True)
        except ValueError as error:
            raise InputError(f"{where}: {reading.reason(error)}") from None
        if not isinstance(row, dict):
            raise InputError(f"{where}: a {type(row).__name__}, expected an object")
        for name in columns:
            _place(name, list(row), where)
        yield *(_text(row[name], name, where) for name in columns), where


def _place(name: str, names: Sequence[str], where: Path | str) -> int:
    if names.count(name) == 1:
        return names.index(name)
    if name in names:
        raise InputError(f"{where}: column '{short_name(name)}' is there twice")
    known = ", ".join(map(short_name, names[:COLUMNS_NAMED])) or "none"
    raise InputError(f"{where}: there is no column '{short_name(name)}', but {known}")


def _text(value: object, name: str, where: str) -> str:
    """Return a value as text: numbers and truth values are written as JSON writes them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InputError(f"{where}: '{short_name(name)}' holds half of a surrogate pair: no Unicode text") from None
        return value
    raise InputError(f"{where}: '{short_name(name)}' is a {type(value).__name__}, expected a text or a whole number")
