"""Attacks side by side: processes that make and keep guesses, which this one then finds finished.

What goes to a process is the run's folder and a configuration, tier and seed; what comes back is progress. Guesses go
through the disk, where they are kept anyway.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.replay import OpenedRun, open_run
from dtfl_private.attacking.session import Session
from dtfl_private.errors import RunError
from dtfl_private.plugins.own_objects import Allowed
from dtfl_private.runtime.device import deterministic_kernels, one_thread
from dtfl_private.runtime.jobs import Ended, Report, Told, work_off
from dtfl_private.runtime.progress import Progress, Relay, relayed


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What a process needs to set up a session: the run's folder, where its data are, the attacks, where to keep.

    ``allowed`` is what the run's configuration may name by its module.
    """

    run: Path
    data_dir: Path | None
    allowed: Allowed
    config: AttackConfig
    folder: Path


@dataclass(frozen=True, kw_only=True)
class Portion:
    """All attacks at one tier with one seed."""

    bench: Bench
    tier: int
    seed: int


def mount_side_by_side(
    session: Session, opened: OpenedRun, config: AttackConfig, folder: Path, listener: Progress
) -> None:
    """Let processes make the guesses that are not there yet; the session finds them kept.

    Raises:
        RunError: an attack failed, or a process died. Finished guesses are kept; what runs at that moment is lost.
    """
    one_each = config.model_copy(update={"undefended": None, "threads": config.threads or 1, "workers": 1})
    bench = Bench(
        run=opened.folder.path,
        data_dir=opened.prepared.config.data_dir,
        allowed=opened.prepared.config.allowed,
        config=one_each,
        folder=folder.absolute(),
    )
    portions = [Portion(bench=bench, tier=tier, seed=seed) for tier, seed in session.portions()]
    if len(portions) < 2:  # nothing to be gained
        return
    work_off(_mount, portions, min(config.workers, len(portions)), _Ears(session, listener))


class _Ears:
    """Passes on what processes tell, and ends everything as soon as one fails."""

    def __init__(self, session: Session, listener: Progress) -> None:
        self._session, self._listener = session, listener

    def __call__(self, event: Told | Ended) -> None:
        if isinstance(event, Ended):
            if event.error is not None:
                raise RunError(event.error)
            return
        relayed(event.what, self._listener)
        match event.what:
            case ("job_finished", (str(label), *_)):
                self._session.mounted(label)


@cache
def _opened(run: Path, data_dir: Path | None, allowed: Allowed) -> OpenedRun:
    return open_run(run, data_dir=data_dir, allow_plugins=allowed)


def _mount(portion: Portion, report: Report) -> None:
    """Make and keep the guesses of a portion; this is what a process does."""
    bench = portion.bench
    with deterministic_kernels(), one_thread():
        opened = _opened(bench.run, bench.data_dir, bench.allowed)
        session = Session(opened, bench.config, None, bench.folder, Relay(report))
        session.mount(portion.tier, portion.seed)
