"""The base of all displays: bars on a terminal, plain lines elsewhere."""

from collections.abc import Iterable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn
from rich.progress import Progress as RichProgress
from rich.table import Column, Table

from dtfl_private.report.lines import broken_between_words, print_line
from dtfl_private.report.words.numbers import duration
from dtfl_private.runtime.callback import Callback

# Names of jobs take half of the terminal, and a second line where they need it; a wide terminal has long bars.
WIDE = 100
BAR, BAR_IF_WIDE = 8, 40

# Lines of a terminal that are left free: the one with the cursor, and the one that says how many bars are not shown.
FREE_LINES = 3


class Bars(RichProgress):
    """Progress bars, as many as the terminal is high; names are broken between words, never cut."""

    def __init__(self, console: Console, *columns: ProgressColumn) -> None:
        self._shown_on, self._name_width = console, console.width // 2 - 2
        name = TextColumn(
            "{task.description}", markup=False, table_column=Column(overflow="fold", max_width=self._name_width)
        )
        bar = BarColumn(BAR_IF_WIDE if console.width >= WIDE else BAR)
        super().__init__(name, bar, *columns, console=console)

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        """Return the bars that the terminal has lines for, the first ones, and how many there are besides."""
        all_tasks = list(tasks)
        room, shown = self._shown_on.height - FREE_LINES, 0
        for task in all_tasks:
            room -= broken_between_words(task.description, self._name_width).count("\n") + 1
            if room < 0:
                break
            shown += 1
        table = super().make_tasks_table(all_tasks[:shown])
        if shown < len(all_tasks):
            table.add_row(f"  and {len(all_tasks) - shown} more")
        return table


class Display(Callback):
    """Show how work proceeds: use as a context manager around it.

    Args:
        console: where to show it.
        columns: of the bars, to the right of name and bar.
        quiet: show notes alone.
    """

    def __init__(self, console: Console, *columns: ProgressColumn, quiet: bool = False) -> None:
        self._console, self._quiet = console, quiet
        self._bars = Bars(console, *columns)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._draws:  # elsewhere it never started, and stopping would print an empty line
            self._drawn.stop()

    @property
    def _draws(self) -> bool:
        return self._console.is_terminal and not self._quiet

    @property
    def _drawn(self) -> RichProgress | Live:
        """What is drawn anew as work proceeds."""
        return self._bars

    def _start(self) -> None:
        """Begin to draw, on a terminal."""
        if self._draws:
            self._drawn.start()

    def _print(self, text: str) -> None:
        """Print a line, above the bars on a terminal."""
        if not self._quiet:
            print_line(self._console, text)

    def _print_off_terminal(self, text: str) -> None:
        """Print a line where no bars are drawn."""
        if not self._console.is_terminal:
            self._print(text)

    def note(self, text: str) -> None:
        """Show a line that the user should see."""
        print_line(self._console, f"note: {text}")


def time_left(elapsed_s: float, done: float, left: float) -> str:
    """Return about how long it will take, as the end of a line; nothing where it is not known, or nothing is left.

    Args:
        elapsed_s: seconds that what is done has taken.
        done: steps that took this time.
        left: steps to come, taken for equally long.
    """
    return f"  about {duration(elapsed_s / done * left)} left" if done > 0 and left > 0 else ""
