"""The live display of attacks; plain lines when the output is not a terminal."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from rich.console import Console
from rich.progress import TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dtfl_private.printable import printable
from dtfl_private.report.live.display import Display, time_left
from dtfl_private.report.words.numbers import duration


@dataclass(kw_only=True)
class _Running:
    """A job that runs: its bar, how far it is (0..1), and when it began."""

    bar: TaskID
    began_s: float
    share: float = 0.0


class AttackDisplay(Display):
    """Show how far the attacks are: use as a context manager around them.

    On a terminal: a bar over all jobs with the remaining time, and one over each job that runs. Elsewhere: one line per
    job, with the remaining time, which takes all jobs that are not cached for equally long.

    Args:
        console: where to show it.
        clock: seconds since any moment.
        quiet: show notes alone.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic, *, quiet: bool = False) -> None:
        columns = (TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn(), TextColumn("left"))
        super().__init__(console, *columns, TimeRemainingColumn(), quiet=quiet)
        self._clock, self._began_s = clock, clock()
        self._all = self._bars.add_task("in all", total=None)
        self._jobs = 0
        self._expected = 0
        self._done = self._cached = 0
        self._running: dict[str, _Running] = {}

    def __enter__(self) -> Self:
        self._start()
        return self

    def jobs_announced(self, jobs: Sequence[str], steps: Sequence[int] = ()) -> None:
        """Count the jobs to come; called again when an undefended run is attacked too."""
        self._jobs += len(jobs)
        self._bars.update(self._all, total=self._total)

    def jobs_expected(self, count: int) -> None:
        """Count the jobs that there will be in all, about, so that the remaining time is that of them all."""
        self._expected += count
        self._bars.update(self._all, total=self._total)

    @property
    def _total(self) -> int:
        return max(self._jobs, self._expected)

    def job_started(self, job: str) -> None:
        """Show the job that begins."""
        bar = self._bars.add_task(printable(job), total=1.0)
        self._running[job] = _Running(bar=bar, began_s=self._clock())

    def job_advanced(self, job: str, done: int, total: int, reached: str = "") -> None:
        """Show how far a job is."""
        running = self._running[job]
        # An attack may take back a guess at its steps: what was shown is not taken back.
        running.share = max(running.share, done / max(total, 1))
        self._bars.update(running.bar, completed=running.share)
        self._show_all()

    def job_finished(self, job: str, *, cached: bool = False, error: str | None = None) -> None:
        """Count a finished job."""
        self._done += 1
        self._cached += cached
        running = self._running.pop(job)
        self._bars.remove_task(running.bar)
        self._show_all()
        took = "cached" if cached else f"{duration(self._clock() - running.began_s)}{self._left()}"
        self._print_off_terminal(f"{self._done}/{self._total}  {job}  {took}")

    def _left(self) -> str:
        """Return the remaining time, by what of the jobs has been computed so far."""
        shares = sum(running.share for running in self._running.values())
        left = self._total - self._done - shares
        return time_left(self._clock() - self._began_s, self._done - self._cached + shares, left)

    def _show_all(self) -> None:
        shares = sum(running.share for running in self._running.values())
        self._bars.update(self._all, completed=self._done + shares)
