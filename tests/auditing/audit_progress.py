"""A callback that keeps what it hears of an audit's jobs."""

from dtfl_private.runtime.callback import Callback


class HeardJobs(Callback):
    """Keeps what it hears."""

    def __init__(self):
        self.expected, self.kept, self.announced, self.running = 0, {}, [], set()

    def jobs_expected(self, count):
        self.expected += count

    def jobs_announced(self, jobs, steps=()):
        self.announced += jobs

    def job_started(self, job):
        assert job not in self.running
        self.running.add(job)

    def job_finished(self, job, *, cached=False, error=None):
        self.running.remove(job)
        self.kept.setdefault(job, []).append(cached)
