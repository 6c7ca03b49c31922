"""Callbacks that pass on what they hear: to another process, under other labels, of a training as of one job."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from dtfl_private.runtime.callback import Callback
from dtfl_private.training.round_record import Record


class Relay(Callback):
    """Passes job events and notes on to another process, where `relayed` takes them.

    Args:
        report: called with each event; see `dtfl_private.runtime.jobs.Report`.
    """

    def __init__(self, report: Callable[[object], None]) -> None:
        self._report = report

    def note(self, text: str) -> None:
        """Pass on a line."""
        self._report(("note", (text,)))

    def job_started(self, job: str) -> None:
        """Pass on that a job begins."""
        self._report(("job_started", (job,)))

    def job_advanced(self, job: str, done: int, total: int, reached: str = "") -> None:
        """Pass on how far a job is."""
        self._report(("job_advanced", (job, done, total, reached)))

    def job_finished(self, job: str, *, cached: bool = False, error: str | None = None) -> None:
        """Pass on that a job is done."""
        self._report(("job_finished", (job, cached, error)))


def relayed(event: Any, progress: Callback) -> None:
    """Tell what a `Relay` has reported."""
    match event:
        case ("note", (text,)):
            progress.note(text)
        case ("job_started", (job,)):
            progress.job_started(job)
        case ("job_advanced", (job, done, total, reached)):
            progress.job_advanced(job, done, total, reached)
        case ("job_finished", (job, cached, error)):
            progress.job_finished(job, cached=cached, error=error)
        case _:
            raise ValueError(f"no event of a relay: {event!r}")


class Relabelled(Callback):
    """Tells of jobs under other labels, or of some not at all.

    Args:
        progress: who hears of them.
        label: returns a job's other label; None if the job is not told of.
    """

    def __init__(self, progress: Callback, label: Callable[[str], str | None]) -> None:
        self._progress, self._label = progress, label

    def note(self, text: str) -> None:
        """Pass on a line."""
        self._progress.note(text)

    def jobs_expected(self, count: int) -> None:
        """Pass on how many jobs there will be."""
        self._progress.jobs_expected(count)

    def jobs_announced(self, jobs: Sequence[str], steps: Sequence[int] = ()) -> None:
        """Announce the jobs that are told of."""
        told = [(label, steps[at : at + 1]) for at, job in enumerate(jobs) if (label := self._label(job)) is not None]
        self._progress.jobs_announced([label for label, _ in told], [step for _, own in told for step in own])

    def job_started(self, job: str) -> None:
        """Tell that a job begins."""
        if (label := self._label(job)) is not None:
            self._progress.job_started(label)

    def job_advanced(self, job: str, done: int, total: int, reached: str = "") -> None:
        """Tell how far a job is."""
        if (label := self._label(job)) is not None:
            self._progress.job_advanced(label, done, total, reached)

    def job_finished(self, job: str, *, cached: bool = False, error: str | None = None) -> None:
        """Tell that a job is done."""
        if (label := self._label(job)) is not None:
            self._progress.job_finished(label, cached=cached, error=error)


def within(progress: Callback) -> Callback:
    """Return who hears of work that is part of other work: of all its jobs, but not of its end."""
    return Relabelled(progress, lambda job: job)


def for_purpose(progress: Callback, purpose: str) -> Callback:
    """Return who hears of jobs that are done for a purpose, which their labels name: others do the same for another."""
    return Relabelled(progress, lambda job: f"{job}, {purpose}") if purpose else progress


class AsOneJob(Callback):
    """Tells of a training as one job: its steps are rounds. As a context manager it tells of the job's end too.

    Args:
        progress: who hears of the job.
        job: its label.
    """

    def __init__(self, progress: Callback, job: str) -> None:
        self._progress, self._job, self._rounds, self._cached = progress, job, 0, False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._progress.job_finished(self._job, cached=self._cached)

    def run_started(
        self,
        folder: Path,
        rounds: int,
        records: Sequence[Record],
        describe: Callable[[], Sequence[str]],
    ) -> None:
        """Begin the job, with the rounds that were finished before."""
        self._rounds, self._cached = rounds, len(records) > 0
        self._progress.job_started(self._job)
        self._progress.job_advanced(self._job, len(records), rounds, _accuracy(records[-1]) if records else "")

    def round_finished(self, record: Record) -> None:
        """Tell how far the training is."""
        self._cached = False
        self._progress.job_advanced(self._job, record["round"], self._rounds, _accuracy(record))


def _accuracy(record: Record) -> str:
    return f"accuracy {record['test_accuracy']:.4f}"
