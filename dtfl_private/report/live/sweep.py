"""The live display of a sweep; one plain line per run when the output is not a terminal."""

import time
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.progress import MofNCompleteColumn, TaskID, TextColumn

from dtfl_private.printable import printable
from dtfl_private.report.lines import print_line
from dtfl_private.report.live.display import Display, time_left
from dtfl_private.report.words.numbers import number_of


class SweepDisplay(Display):
    """Show how a sweep proceeds: use as a context manager around it.

    On a terminal: a bar over the rounds of all runs with the remaining time, and one for each run under way. Elsewhere:
    one line per run. The remaining time takes all rounds for equally long.

    Args:
        console: where to show it.
        clock: seconds since any moment, for the remaining time.
        quiet: show notes alone.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic, *, quiet: bool = False) -> None:
        super().__init__(console, MofNCompleteColumn(), TextColumn("{task.fields[note]}", markup=False), quiet=quiet)
        self._clock = clock
        self._start_s = 0.0
        self._rounds: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._before = 0
        self._reached: dict[str, str] = {}
        self._ended: set[str] = set()
        self._whole = self._bars.add_task("rounds of all runs", total=None, note="")
        self._under_way: dict[str, TaskID] = {}

    def note(self, text: str) -> None:
        """Show a line above the bars."""
        print_line(self._console, text)

    def jobs_announced(self, jobs: Sequence[str], steps: Sequence[int] = ()) -> None:
        """Start the display of runs with these numbers of rounds; a sweep's trials come before its other runs."""
        self._before, self._reached, self._ended = 0, {}, set()
        self._start_s, self._rounds = self._clock(), dict(zip(jobs, steps, strict=True))
        self._done = dict.fromkeys(jobs, 0)
        self._start()
        self._show()

    def job_started(self, job: str) -> None:
        """Show the run that begins or goes on."""
        self._under_way[job] = self._bars.add_task(f"  {printable(job)}", total=self._rounds[job], note="")

    def job_advanced(self, job: str, done: int, total: int, reached: str = "") -> None:
        """Show how far a run is."""
        if job not in self._reached:
            self._before += done  # a resumed run's earlier rounds took no time of this sweep
        self._done[job], self._reached[job] = done, reached
        self._bars.update(self._under_way[job], completed=done, note=reached)
        self._show()

    def job_finished(self, job: str, *, cached: bool = False, error: str | None = None) -> None:
        """Show that a run has ended; one that stopped early has no rounds left."""
        if job in self._under_way:
            self._bars.remove_task(self._under_way.pop(job))
        self._ended.add(job)
        rounds = self._done[job]
        self._before += self._rounds[job] - rounds
        self._done[job] = self._rounds[job]
        self._show()
        if not cached:
            how = f"failed: {error}" if error else f"{self._reached.get(job, '')} after {number_of(rounds, 'round')}"
            self._print(f"[{len(self._ended)}/{len(self._rounds)}] {job}  {how}{self._left()}")

    def _show(self) -> None:
        done, total = sum(self._done.values()), sum(self._rounds.values())
        self._bars.update(self._whole, completed=done, total=total, note=self._left().strip())

    def _left(self) -> str:
        """Return the remaining time, by the rounds that this sweep has trained so far; nothing before the first."""
        done = sum(self._done.values())
        return time_left(self._clock() - self._start_s, done - self._before, sum(self._rounds.values()) - done)
