"""The live display of attacks; plain lines when the output is not a terminal."""

import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dtfl_private.report.words import duration


class AttackDisplay:
    """Show how far the attacks are: use as a context manager around them.

    On a terminal: a bar over all jobs with the remaining time, and one over the present job. Elsewhere: one line per
    job.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._all = self._bars.add_task("all attacks", total=None)
        self._one = self._bars.add_task("", total=1.0, visible=False)
        self._jobs = 0
        self._done = 0
        self._share = 0.0
        self._began_s = time.monotonic()

    def __enter__(self) -> "AttackDisplay":
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:  # elsewhere it never started, and stopping would print an empty line
            self._bars.stop()

    def started(self, jobs: Sequence[str]) -> None:
        """Count the jobs to come; called again when an undefended run is attacked beside."""
        self._jobs += len(jobs)
        self._bars.update(self._all, total=self._jobs)

    def job(self, label: str) -> None:
        """Show the job that begins."""
        self._began_s = time.monotonic()
        self._share = 0.0
        self._bars.reset(self._one, total=1.0, description=label, visible=True)

    def progress(self, done: int, total: int) -> None:
        """Show how far the job is."""
        # A job of several phases begins anew with each: what was shown is not taken back.
        share = max(self._share, done / max(total, 1))
        self._share = share
        self._bars.update(self._one, completed=share)
        self._bars.update(self._all, completed=self._done + share)

    def finished(self, label: str, *, kept: bool) -> None:
        """Count a finished job."""
        self._done += 1
        self._bars.update(self._all, completed=self._done)
        if not self._console.is_terminal:
            took = "kept from before" if kept else duration(time.monotonic() - self._began_s)
            self._console.print(f"{self._done}/{self._jobs}  {label}  {took}", soft_wrap=True, highlight=False)

    def note(self, text: str) -> None:
        """Show a line above the bars."""
        self._console.print(f"note: {text}", soft_wrap=True, highlight=False)
