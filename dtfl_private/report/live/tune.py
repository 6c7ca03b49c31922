"""The live display of a search within limits; one plain line per trial when the output is not a terminal."""

import time
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.progress import TaskID, TextColumn

from dtfl_private.printable import printable
from dtfl_private.report.lines import print_line
from dtfl_private.report.live.display import Display, time_left


class TuneDisplay(Display):
    """Show how a search proceeds: use as a context manager around it.

    On a terminal: a bar over all work with the remaining time, and one for each trial under way. Elsewhere: one line
    per trial. Work is counted in rounds of training; attacks count as so many.

    Args:
        console: where to show it.
        clock: seconds since any moment, for the remaining time.
        quiet: show notes alone.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic, *, quiet: bool = False) -> None:
        columns = (TextColumn("{task.percentage:>3.0f} %"), TextColumn("{task.fields[note]}", markup=False))
        super().__init__(console, *columns, quiet=quiet)
        self._clock, self._start_s = clock, clock()
        self._total = self._done = 0
        self._ended = 0
        self._whole = self._bars.add_task("in all", total=None, note="")
        self._under_way: dict[str, TaskID] = {}
        self._units: dict[str, int] = {}
        self._reached: dict[str, str] = {}

    def note(self, text: str) -> None:
        """Show a line above the bars; without quiet alone, as most say what is being done."""
        if not self._quiet:
            print_line(self._console, text)

    def jobs_announced(self, jobs: Sequence[str], steps: Sequence[int] = ()) -> None:
        """Take what there is to do from now on, in rounds."""
        self._total, self._done, self._start_s = sum(steps), 0, self._clock()
        self._start()
        self._show()

    def job_started(self, job: str) -> None:
        """Show the trial that begins; before the first one there is no bar to show, as what was asked may be wrong."""
        self._start()
        self._under_way[job] = self._bars.add_task(f"  {printable(job)}", total=None, note="")

    def job_advanced(self, job: str, done: int, total: int, reached: str = "") -> None:
        """Show how far a trial is; the last word on it stands for all it costs."""
        self._units[job], self._reached[job] = done, reached
        if job in self._under_way:
            self._bars.update(self._under_way[job], completed=done, total=total, note=reached)
        self._show()

    def job_finished(self, job: str, *, cached: bool = False, error: str | None = None) -> None:
        """Show that a trial has ended."""
        if job in self._under_way:
            self._bars.remove_task(self._under_way.pop(job))
        self._done += self._units.pop(job, 1)
        self._ended += 1
        self._show()
        if not cached:
            how = f"failed: {error}" if error else self._reached.get(job, "done")
            self._print_off_terminal(f"[{self._ended}] {job}  {how}{self._left()}")

    def _show(self) -> None:
        done = self._done + sum(self._units.values())
        total = max(self._total, done) or None
        self._bars.update(self._whole, completed=done, total=total, note=self._left().strip())

    def _left(self) -> str:
        """Return the remaining time, by the rounds that were worked on so far."""
        done = self._done + sum(self._units.values())
        return time_left(self._clock() - self._start_s, done, self._total - done) if self._total else ""
