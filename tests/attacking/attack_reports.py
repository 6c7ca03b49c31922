"""What tests of attacks share: a callback that keeps what it hears, and a look into a report."""

from dtfl_private.runtime.callback import Callback


def of(report, metric, source="least-squares"):
    (found,) = [result for result in report.results if (result.metric, result.source) == (metric, source)]
    return found


class Heard(Callback):
    """A callback that keeps what it hears; ``stop_at`` a job it stops everything."""

    def __init__(self, stop_at: str | None = None) -> None:
        self.kept: list[bool] = []
        self.notes: list[str] = []
        self._stop_at = stop_at

    def job_started(self, job):
        if job == self._stop_at:
            raise KeyboardInterrupt

    def job_finished(self, job, *, cached=False, error=None):
        self.kept.append(cached)

    def note(self, text):
        self.notes.append(text)
