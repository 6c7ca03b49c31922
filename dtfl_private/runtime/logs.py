"""Log lines of the package on standard error: what the command line shows of them, and its worker processes."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from dtfl_private.printable import one_line

PACKAGE = logging.getLogger("dtfl_private")


class _Formatter(logging.Formatter):
    """A line: time, level, module, message; what would steer a terminal is spelled out in it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        where = record.name.removeprefix("dtfl_private.")
        time = f"{self.formatTime(record, '%H:%M:%S')}.{record.msecs:03.0f}"
        return one_line(f"{time} {record.levelname.lower()} {where}: {record.getMessage()}")


class _ToStandardError(logging.Handler):
    """Writes to what standard error is when a line comes: a live display puts lines above itself."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        try:
            _standard_error().write(self.format(record) + "\n")
        except Exception:  # logging must not end a run
            self.handleError(record)


def _standard_error() -> TextIO:
    """Return where lines go: past a live display if standard error is no terminal, as when it goes to a file."""
    behind: TextIO | None = getattr(sys.stderr, "rich_proxied_file", None)
    return sys.stderr if behind is None or behind.isatty() else behind


@contextmanager
def logs_shown(level: int = logging.WARNING) -> Iterator[None]:
    """Show the package's log lines from a level on while the block runs."""
    handler, before = _ToStandardError(), PACKAGE.level
    handler.setFormatter(_Formatter())
    PACKAGE.addHandler(handler)
    PACKAGE.setLevel(level)
    try:
        yield
    finally:
        PACKAGE.removeHandler(handler)
        PACKAGE.setLevel(before)


def are_shown() -> bool:
    """Whether `logs_shown` is in force, in which case worker processes are to do the same."""
    return any(isinstance(handler, _ToStandardError) for handler in PACKAGE.handlers)


def show_in_worker(wanted: bool) -> None:
    """Show warnings of this worker process, to its end; fewer lines than of the main process, whose display they break.

    Args:
        wanted: what `are_shown` said in the main process.
    """
    if wanted:
        handler = _ToStandardError()
        handler.setFormatter(_Formatter())
        PACKAGE.addHandler(handler)
        PACKAGE.setLevel(logging.WARNING)
