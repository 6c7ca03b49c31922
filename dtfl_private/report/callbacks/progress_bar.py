"""The display of how work proceeds, for programs and notebooks."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, get_args

from rich.console import Console

from dtfl_private.errors import unknown_name
from dtfl_private.printable import printable
from dtfl_private.report.live.attacks import AttackDisplay
from dtfl_private.report.live.display import Display
from dtfl_private.report.live.notebook import NotebookDisplay, shown_in_notebook
from dtfl_private.report.live.sweep import SweepDisplay
from dtfl_private.report.live.training import TrainingDisplay
from dtfl_private.runtime.callback import Callback
from dtfl_private.simulation.round_plan import RoundPlan
from dtfl_private.training.round_record import Record

Show = Literal["auto", "bars", "notebook", "lines", "nothing"]

# Wide enough that no line of a file or a notebook is broken.
WIDTH_OF_LINES = 180


class ProgressBar(Callback):
    """Shows how a training, attack, audit or sweep proceeds, as the commands do.

    Args:
        show: ``bars`` on a terminal, ``notebook`` for one output below the cell that is drawn anew, ``lines`` for a
            line per round or job, ``nothing`` to be silent; ``auto`` chooses among the first three by where it runs.
        console: to show bars or lines on; by default standard output.

    Raises:
        InputError: another ``show``.
    """

    def __init__(self, show: Show = "auto", *, console: Console | None = None) -> None:
        if show not in get_args(Show):
            raise unknown_name("show of a ProgressBar", str(show), get_args(Show))
        where = console or Console(markup=False, emoji=False)
        if show == "auto":
            show = "notebook" if where.is_jupyter else "bars" if where.is_terminal else "lines"
        if console is None and show == "lines":
            where = _plain_console()
        self._kind, self._console = show, where
        self._display: Callback | None = Callback() if show == "nothing" else None

    def note(self, text: str) -> None:
        """Show a line that the user should see."""
        if self._display is None and self._kind != "notebook":  # it may come before it is known what is shown
            self._console.print(f"note: {printable(text)}", soft_wrap=True, highlight=False)
        else:
            self._of_jobs().note(printable(text))

    def run_started(
        self, folder: Path, rounds: int, records: Sequence[Record], describe: Callable[[], Sequence[str]]
    ) -> None:
        """Begin the display of a training."""
        display = self._opened(lambda: TrainingDisplay(self._console, rounds))
        display.run_started(folder, rounds, records, lambda: [printable(line) for line in describe()])

    def round_planned(self, plan: RoundPlan) -> None:
        """Show a round's schedule."""
        self._of_jobs().round_planned(plan)

    def client_trained(self, client: int) -> None:
        """Count one more client of the round."""
        self._of_jobs().client_trained(client)

    def round_finished(self, record: Record) -> None:
        """Show a finished round."""
        self._of_jobs().round_finished(record)

    def jobs_expected(self, count: int) -> None:
        """Show how many jobs there will be in all, about."""
        self._of_jobs().jobs_expected(count)

    def jobs_announced(self, jobs: Sequence[str], steps: Sequence[int] = ()) -> None:
        """Count the jobs to come; those whose rounds are known are the runs of a sweep."""
        display = self._opened(lambda: SweepDisplay(self._console)) if steps else self._of_jobs()
        display.jobs_announced(jobs, steps)

    def job_started(self, job: str) -> None:
        """Show a job that begins."""
        self._of_jobs().job_started(job)

    def job_advanced(self, job: str, done: int, total: int, reached: str = "") -> None:
        """Show how far a job is."""
        self._of_jobs().job_advanced(job, done, total, reached)

    def job_finished(self, job: str, *, cached: bool = False, error: str | None = None) -> None:
        """Count a finished job."""
        self._of_jobs().job_finished(job, cached=cached, error=error)

    def ended(self, error: BaseException | None) -> None:
        """Leave the last state there; the next call begins another display."""
        display, self._display = self._display, Callback() if self._kind == "nothing" else None
        if isinstance(display, Display):
            display.__exit__(None, None, None)
        elif display is not None:
            display.ended(error)

    def _of_jobs(self) -> Callback:
        """Return the display; where no training has begun it, one of jobs."""
        return self._opened(lambda: AttackDisplay(self._console))

    def _opened(self, make: Callable[[], Display]) -> Callback:
        if self._display is None:
            if self._kind == "notebook":
                self._display = NotebookDisplay(shown_in_notebook())
            else:
                self._display = make().__enter__()
        return self._display


def _plain_console() -> Console:
    """Return what prints lines and nothing else, wherever it runs."""
    return Console(
        file=sys.stdout,
        force_terminal=False,
        force_jupyter=False,
        width=WIDTH_OF_LINES,
        markup=False,
        emoji=False,
        highlight=False,
    )
