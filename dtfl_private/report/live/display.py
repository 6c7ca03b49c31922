"""The base of all displays: bars on a terminal, plain lines elsewhere."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, ProgressColumn, TextColumn
from rich.progress import Progress as Bars

from dtfl_private.runtime.callback import Callback


class Display(Callback):
    """Show how work proceeds: use as a context manager around it.

    Args:
        console: where to show it.
        columns: of the bars, to the right of name and bar.
    """

    def __init__(self, console: Console, *columns: ProgressColumn) -> None:
        self._console = console
        self._bars = Bars(TextColumn("{task.description}", markup=False), BarColumn(), *columns, console=console)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:  # elsewhere it never started, and stopping would print an empty line
            self._drawn.stop()

    @property
    def _drawn(self) -> Bars | Live:
        """What is drawn anew as work proceeds."""
        return self._bars

    def _start(self) -> None:
        """Begin to draw, on a terminal."""
        if self._console.is_terminal:
            self._drawn.start()

    def _print(self, text: str) -> None:
        """Print a line, above the bars on a terminal."""
        self._console.print(text, soft_wrap=True, highlight=False)

    def _print_off_terminal(self, text: str) -> None:
        """Print a line where no bars are drawn."""
        if not self._console.is_terminal:
            self._print(text)

    def note(self, text: str) -> None:
        """Show a line that the user should see."""
        self._print(f"note: {text}")
