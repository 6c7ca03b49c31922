"""rounds.jsonl: one line for each finished round."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from dtfl_private.errors import RunError
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.files import reading
from dtfl_private.files.writing import write_atomic
from dtfl_private.training.round_record import Record

_RECORD = TypeAdapter(Record)


LARGEST_RECORDS_BYTES = 2**29


# Of one line of it: a round of half a million clients.
LARGEST_RECORD_BYTES = 2**26


def append_record(folder: RunFolder, record: Record) -> None:
    """Append one line to rounds.jsonl and wait until it is on the disk."""
    with folder.rounds.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record, allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_records(folder: RunFolder) -> tuple[list[Record], str | None]:
    """Return the whole lines of rounds.jsonl, and a remark when the last line is torn.

    Raises:
        RunError: a line before the last one is damaged.
    """
    if not folder.rounds.exists():
        return [], None
    records: list[Record] = []
    try:
        for number, line in enumerate(_lines(folder.rounds), start=1):
            if not line.endswith(b"\n"):
                return records, f"the last line of {folder.rounds.name} was torn and is dropped"
            records.append(_checked_record(folder, number, line))
    except (OSError, ValueError) as error:
        reason = reading.reason(error)
        raise RunError(f"{folder.rounds} cannot be read ({reason}): start again in a new --out folder") from None
    return records, None


def _lines(path: Path) -> Iterator[bytes]:
    """Yield a file's lines, one at a time: a damaged one ends the reading before the next is in memory."""
    with reading.open_regular(path, most_bytes=LARGEST_RECORDS_BYTES) as file:
        while line := file.readline(LARGEST_RECORD_BYTES + 1):
            if len(line) > LARGEST_RECORD_BYTES:
                raise ValueError(f"a line of more than {LARGEST_RECORD_BYTES // 2**20} MiB")
            yield line


def _checked_record(folder: RunFolder, number: int, line: bytes) -> Record:
    try:
        record = _RECORD.validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise RunError(_damaged(folder, number, f"{where} {first['msg']}".strip())) from None
    if record["round"] != number:
        raise RunError(_damaged(folder, number, f"it is of round {record['round']}"))
    return record


def _damaged(folder: RunFolder, line: int, reason: str) -> str:
    return f"{folder.rounds} is damaged in line {line} ({reason}): start again in a new --out folder"


def keep_records(folder: RunFolder, records: Sequence[Record]) -> None:
    """Rewrite rounds.jsonl with these records only, in one step."""
    text = "".join(json.dumps(record, allow_nan=False) + "\n" for record in records)
    write_atomic(folder.rounds, text.encode())
