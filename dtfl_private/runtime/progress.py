"""How the program tells how far it is: the events of trainings, attacks, audits and sweeps.

A training tells of its rounds. All else consists of jobs, which have labels: an attack at a tier with a seed, a measure
at a tier, a training that an audit needs, a run of a sweep.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dtfl_private.training.round_progress import RoundProgress
from dtfl_private.training.round_record import Record


class Progress(RoundProgress):
    """Hears how work proceeds, for a display. Every event does nothing unless a subclass says otherwise."""

    def note(self, text: str) -> None:
        """Called with a line that the user should see."""

    def run_started(
        self, folder: Path, rounds: int, records: Sequence[Record], describe: Callable[[], Sequence[str]]
    ) -> None:
        """Called before the first round of a training, or before the next one when it is resumed.

        Args:
            folder: of the run.
            rounds: in all.
            records: of the rounds that were finished before.
            describe: returns lines that say what is about to be done, and what of it leaves the clients.
        """

    def round_finished(self, record: Record) -> None:
        """Called with the record of each finished round."""

    def jobs_expected(self, count: int) -> None:
        """Called with about how many jobs there will be in all, where that is known before the jobs are."""

    def jobs_announced(self, jobs: Sequence[str], steps: Sequence[int] = ()) -> None:
        """Called with the labels of jobs to come, and with how many steps each of them has if that is known."""

    def job_started(self, job: str) -> None:
        """Called when a job begins; several may run at once."""

    def job_advanced(self, job: str, done: int, total: int, reached: str = "") -> None:
        """Called while a job runs: steps done, steps in all, and what it has reached in words."""

    def job_finished(self, job: str, *, cached: bool = False, error: str | None = None) -> None:
        """Called when a job is done.

        Args:
            job: its label.
            cached: nothing had to be computed, for its result was there.
            error: why it failed, or None.
        """


class Relay(Progress):
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


def relayed(event: Any, progress: Progress) -> None:
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


class Relabelled(Progress):
    """Tells of jobs under other labels, or of some not at all.

    Args:
        progress: who hears of them.
        label: returns a job's other label; None if the job is not told of.
    """

    def __init__(self, progress: Progress, label: Callable[[str], str | None]) -> None:
        self._progress, self._label = progress, label

    def note(self, text: str) -> None:
        """Pass on a line."""
        self._progress.note(text)

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


def for_purpose(progress: Progress, purpose: str) -> Progress:
    """Return who hears of jobs that are done for a purpose, which their labels name: others do the same for another."""
    return Relabelled(progress, lambda job: f"{job}, {purpose}") if purpose else progress


class AsOneJob(Progress):
    """Tells of a training as one job: its steps are rounds.

    Args:
        progress: who hears of the job.
        job: its label.
    """

    def __init__(self, progress: Progress, job: str) -> None:
        self._progress, self._job, self._rounds, self._cached = progress, job, 0, False

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

    def end(self) -> None:
        """End the job, however many rounds it took."""
        self._progress.job_finished(self._job, cached=self._cached)


def _accuracy(record: Record) -> str:
    return f"accuracy {record['test_accuracy']:.4f}"
