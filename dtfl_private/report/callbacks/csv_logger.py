"""The figures of all rounds as a table of comma-separated values."""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

from dtfl_private.files.writing import output_path, require_file_or_nothing, require_writable, write_atomic
from dtfl_private.report.callbacks.figures import figures_of
from dtfl_private.runtime.callback import Callback
from dtfl_private.training.round_record import Record


class CsvLogger(Callback):
    """Keeps a CSV file with a line for each finished round, and a column for each figure that any of them has.

    The file is written anew after each round, whole at every moment: what was there before the training is gone. A
    resumed training has the lines of its earlier rounds.

    Args:
        path: of the file.

    Raises:
        InputError: no file can be written there.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = output_path(path)
        refused = f"CSV file '{path}' cannot be written"
        require_file_or_nothing(self._path, refused)
        require_writable(self._path.parent, refused)
        self._rows: list[dict[str, float]] = []

    def run_started(
        self, folder: Path, rounds: int, records: Sequence[Record], describe: Callable[[], Sequence[str]]
    ) -> None:
        """Begin the file, with the rounds that were finished before."""
        self._rows = [_row(record) for record in records]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._write()

    def round_finished(self, record: Record) -> None:
        """Add a line."""
        self._rows.append(_row(record))
        self._write()

    def _write(self) -> None:
        names = dict.fromkeys(["round", *(name for row in self._rows for name in row)])
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, fieldnames=list(names), lineterminator="\n")
        table.writeheader()
        table.writerows(self._rows)
        write_atomic(self._path, text.getvalue().encode())


def _row(record: Record) -> dict[str, float]:
    return {"round": record["round"], **figures_of(record)}
