"""trials.jsonl: one line for each trial and rung, appended as it ends."""

import json
import os
from pathlib import Path

from pydantic import ValidationError

from dtfl_private.choosing.trial import Measured
from dtfl_private.errors import InputError
from dtfl_private.files import reading
from dtfl_private.files.writing import write_atomic
from dtfl_private.leakage.results.result import first_fault

LARGEST_TRIALS_BYTES = 2**28


def append_trial(path: Path, measured: Measured) -> None:
    """Append a line, and wait until it is on the disk."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(measured.model_dump(mode="json"), allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_trials(path: Path) -> list[Measured]:
    """Return the trials of a file that may come from anybody; a torn last line is dropped, also from the file.

    Raises:
        InputError: it cannot be read, or a line is no trial.
    """
    if not path.exists():
        return []
    try:
        data = reading.read_bytes(path, most_bytes=LARGEST_TRIALS_BYTES)
    except (OSError, ValueError) as error:
        raise InputError(f"trials '{path}' cannot be read: {reading.reason(error)}") from None
    whole, newline, torn = data.rpartition(b"\n")
    found = [_checked(path, number, line) for number, line in enumerate(whole.split(b"\n") if newline else [], start=1)]
    if torn:
        write_atomic(path, whole + newline)
    return found


def _checked(path: Path, number: int, line: bytes) -> Measured:
    try:
        return Measured.model_validate_json(line)
    except ValidationError as error:
        raise InputError(f"trials '{path}' are damaged in line {number} ({first_fault(error)})") from None
