"""The live display of predictions: a bar on a terminal, nothing elsewhere."""

from typing import Self

from rich.console import Console
from rich.progress import MofNCompleteColumn, TimeElapsedColumn, TimeRemainingColumn

from dtfl_private.report.live.display import Display


class PredictionDisplay(Display):
    """Show how many images are done: use as a context manager around the work."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        columns = (MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        super().__init__(console, *columns, quiet=quiet)
        self._bar = self._bars.add_task("images", total=None)

    def __enter__(self) -> Self:
        self._start()
        return self

    def job_advanced(self, job: str, done: int, total: int, reached: str = "") -> None:
        """Show how many images are done."""
        self._bars.update(self._bar, completed=done, total=total)
