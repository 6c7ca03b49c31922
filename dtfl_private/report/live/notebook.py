"""The live display of a notebook: one output that is drawn anew, and stays as the last state of the work."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from dtfl_private.html_table import table_html, text_html
from dtfl_private.report.words.numbers import duration, perplexity_text, tiers_text
from dtfl_private.runtime.callback import Callback
from dtfl_private.training.round_record import Record

SHOWN_ROUNDS = 8

# Between two drawings: a notebook keeps each in its memory while the cell runs.
LEAST_S = 0.25


class NotebookDisplay(Callback):
    """Show how work proceeds below a notebook's cell: a bar, the last rounds of a training, the jobs that run.

    Args:
        show: called with the HTML, first to show it and then to show it instead.
        clock: seconds since any moment.
    """

    def __init__(self, show: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._show, self._clock, self._drawn_s = show, clock, -LEAST_S
        self._title, self._done, self._total = "", 0.0, 0
        self._recent: deque[Record] = deque(maxlen=SHOWN_ROUNDS)
        self._running: dict[str, tuple[float, str]] = {}
        self._notes: list[str] = []

    def note(self, text: str) -> None:
        """Show a line that the user should see."""
        self._notes.append(f"note: {text}")
        self._draw(now=True)

    def run_started(
        self, folder: Path, rounds: int, records: Sequence[Record], describe: Callable[[], Sequence[str]]
    ) -> None:
        """Show the rounds that were finished before."""
        self._title, self._total, self._done = f"training {folder}", rounds, len(records)
        self._recent.extend(records)
        self._draw(now=True)

    def round_finished(self, record: Record) -> None:
        """Show a finished round."""
        self._done = record["round"]
        self._recent.append(record)
        self._draw()

    def jobs_expected(self, count: int) -> None:
        """Count the jobs that there will be in all, about."""
        self._title, self._total = "jobs", max(self._total, count)

    def jobs_announced(self, jobs: Sequence[str], steps: Sequence[int] = ()) -> None:
        """Count the jobs to come."""
        self._title, self._total = "jobs", max(self._total, round(self._done) + len(self._running) + len(jobs))
        self._draw()

    def job_started(self, job: str) -> None:
        """Show a job that begins."""
        self._running[job] = (0.0, "")
        self._draw()

    def job_advanced(self, job: str, done: int, total: int, reached: str = "") -> None:
        """Show how far a job is."""
        self._running[job] = (done / max(total, 1), reached)
        self._draw()

    def job_finished(self, job: str, *, cached: bool = False, error: str | None = None) -> None:
        """Count a finished job, and say of one that failed why it did."""
        self._running.pop(job, None)
        self._done += 1
        if error is not None:
            self._notes.append(f"{job} failed: {error}")
        self._draw()

    def ended(self, error: BaseException | None) -> None:
        """Show the last state."""
        if self._title or self._notes:
            self._draw(now=True)

    def _draw(self, *, now: bool = False) -> None:
        if now or self._clock() - self._drawn_s >= LEAST_S:
            self._drawn_s = self._clock()
            self._show(self._html())

    def _html(self) -> str:
        done = self._done + sum(share for share, _ in self._running.values())
        bar = Markup('<progress value="{}" max="{}"></progress> {}').format(
            f"{done:.3f}", max(self._total, 1), f"{self._done:g} of {self._total}"
        )
        jobs = Markup().join(
            Markup("<div>{}</div>").format(text_html(f"{job}  {share:.0%}  {reached}"))
            for job, (share, reached) in self._running.items()
        )
        parts = [Markup("<div>{} {}</div>").format(text_html(self._title), bar), jobs]
        if self._recent:
            asked = "test_perplexity" in self._recent[-1]  # of language models
            columns = ("round", "accuracy", "loss", *["perplexity"] * asked, "simulated", "tier:clients")
            rows = (_row(record, asked=asked) for record in self._recent)
            parts.append(Markup(table_html("", columns, rows)))
        notes = (Markup("<div>{}</div>").format(text_html(note)) for note in self._notes)
        return str(Markup().join([*parts, *notes]))


def _row(record: Record, *, asked: bool) -> Sequence[str]:
    return (
        str(record["round"]),
        f"{record['test_accuracy']:.4f}",
        f"{record['test_loss']:.4f}",
        *[perplexity_text(record)] * asked,
        duration(record["virtual_time_s"]),
        tiers_text(record["tiers"].values()),
    )


def shown_in_notebook() -> Callable[[str], None]:
    """Return what shows HTML below the notebook's cell, and then other HTML in its place."""
    from IPython import display as notebook

    made: Any = notebook.HTML  # IPython has no types for these
    begin: Any = notebook.display
    handles: list[Any] = []

    def show(html: str) -> None:
        if handles:
            handles[0].update(made(html))
        else:
            handles.append(begin(made(html), display_id=True))

    return show
