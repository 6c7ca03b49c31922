"""Attacks in several processes: these guess and cache, and the first process then finds the guesses.

What goes to a process is the run's folder and a configuration, tier and seed; what comes back is progress.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.attack_plan import AttackPlan, plan_attack
from dtfl_private.attacking.guessing import guess, is_waiting
from dtfl_private.attacking.victims.replay import OpenedRun, open_run
from dtfl_private.errors import RunError
from dtfl_private.plugins.own_objects import Allowed
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.device import deterministic_kernels, one_thread
from dtfl_private.runtime.executor_choice import LOCAL, parse_executor
from dtfl_private.runtime.jobs import Ended, OnCluster, Report, Reported, run_jobs
from dtfl_private.runtime.progress import Relay, for_purpose, relayed


@dataclass(frozen=True, kw_only=True)
class NamedRun:
    """A run as a process is told of it.

    Attributes:
        folder: of the run.
        data_dir: where its data are.
        allowed: what its configuration may name by its module.
    """

    folder: Path
    data_dir: Path | None
    allowed: Allowed

    @classmethod
    def of(cls, opened: OpenedRun, folder: Path | None = None) -> "NamedRun":
        """Return how a run is named, or the same run without defenses in another folder."""
        config = opened.prepared.config
        return cls(folder=folder or opened.folder.path, data_dir=config.data_dir, allowed=config.allowed)


@dataclass(frozen=True, kw_only=True)
class GuessTask:
    """All attacks of a plan at one tier with one seed; what a process is told.

    They are independent of others, while attacks at one tier with one seed share what they train.

    Attributes:
        run: that is attacked.
        config: the attacks.
        folder: where guesses are cached.
        tier: client modules m.
        seed: of the repetition.
        purpose: what the jobs' labels say that they are for.
    """

    run: NamedRun
    config: AttackConfig
    folder: Path
    tier: int
    seed: int
    purpose: str = ""


def guess_in_processes(plan: AttackPlan, listener: Callback) -> frozenset[str]:
    """Let processes make the guesses that are not cached yet; return the labels of which the listener has heard.

    Raises:
        RunError: an attack failed, or a process died. Finished guesses are cached; what runs at that moment is lost.
    """
    tasks, cluster = guess_tasks(plan), OnCluster.of(parse_executor(plan.config.executor), plan.folder)
    if len(tasks) < (2 if cluster is None else 1):  # nothing to be gained
        return frozenset()
    events = HeardEvents(listener)
    run_jobs(carry_out, tasks, min(plan.config.workers, len(tasks)), events, cluster)
    return frozenset(events.finished)


def guess_tasks(plan: AttackPlan, purpose: str = "") -> list[GuessTask]:
    """Return tiers and seeds at which guesses are not cached yet, as tasks; what cannot be cached is no task.

    The deepest tiers come first: attacks there take longest, and no process should begin one when all others are done.
    """
    config = plan.config
    waiting = [(job.tier, seed) for job in plan.jobs for seed in plan.seeds if is_waiting(plan, job, seed)]
    return [
        GuessTask(
            run=NamedRun.of(plan.opened),
            config=config.model_copy(
                update={"undefended": None, "threads": config.threads or 1, "workers": 1, "executor": LOCAL}
            ),
            folder=plan.folder.absolute(),
            tier=tier,
            seed=seed,
            purpose=purpose,
        )
        for tier, seed in sorted(dict.fromkeys(waiting), key=lambda task: -task[0])
    ]


class HeardEvents:
    """Passes on what processes report, and ends everything as soon as one fails.

    Attributes:
        finished: labels of finished repetitions.
    """

    def __init__(self, listener: Callback) -> None:
        self._listener = listener
        self.finished: set[str] = set()

    def __call__(self, event: Reported | Ended) -> None:
        """Take what happened to a task."""
        if isinstance(event, Ended):
            if event.error is not None:
                raise RunError(event.error)
            return
        relayed(event.what, self._listener)
        match event.what:
            case ("job_finished", (str(label), *_)):
                self.finished.add(label)


# The run and the same without defenses: more would stay in memory for nothing.
@lru_cache(maxsize=2)
def open_once(run: NamedRun) -> OpenedRun:
    """Open a run, once in each process as a rule."""
    return open_run(run.folder, data_dir=run.data_dir, allow_plugins=run.allowed)


def carry_out(task: GuessTask, report: Report) -> None:
    """Make and cache the guesses of a task; this is what a process does."""
    with deterministic_kernels(), one_thread():
        opened = open_once(task.run)
        plan = plan_attack(opened, task.config, None, task.folder)
        listener = for_purpose(Relay(report), task.purpose)
        for job in plan.jobs:
            if job.tier == task.tier:
                guess(plan, job, task.seed, listener)
