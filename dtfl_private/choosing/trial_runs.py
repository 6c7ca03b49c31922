"""Trials as runs on the disk, several at once in processes of their own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from dtfl_private.choosing.defense_choice import Point
from dtfl_private.choosing.evaluate import MEASURED, TrialJob, try_point
from dtfl_private.choosing.points import Base, acts_somewhere, config_of
from dtfl_private.choosing.rungs import Rung
from dtfl_private.choosing.search import Ask
from dtfl_private.choosing.space import Space
from dtfl_private.choosing.trial import Measured, Rules
from dtfl_private.errors import InputError, RunError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.jobs import Ended, Reported, run_jobs
from dtfl_private.runtime.progress import relayed


@dataclass(frozen=True, kw_only=True)
class TrialRuns:
    """Tries points of a space by training and attacking; it is what a `Search` evaluates by.

    Attributes:
        space: of the points.
        base: the untouched configuration.
        images: changes that give trials their images.
        rungs: how trials are trained and attacked.
        rules: that are to be kept.
        folder: of the trials.
        workers: processes at a time.
        listener: hears how trials proceed.
    """

    space: Space
    base: Base
    images: dict[str, object]
    rungs: Sequence[Rung]
    rules: Rules
    folder: Path
    workers: int
    listener: Callback

    def __call__(self, asks: Sequence[Ask], take: Callable[[Measured], None]) -> None:
        """Try points, and hand on what each of them measured as soon as it has ended.

        Raises:
            RunError: one failed for another reason than that it was refused or diverged; others were tried.
        """
        jobs = [self.job(ask) for ask in asks]
        failed: dict[str, str] = {}

        def on_event(event: Reported | Ended) -> None:
            label = jobs[event.job].label
            if isinstance(event, Ended):
                if event.error is not None:
                    failed[label] = event.error
                self.listener.job_finished(label, error=event.error)
                return
            match event.what:
                case (str(kind), str(text)) if kind == MEASURED:
                    measured = _measured(text)
                    units = jobs[event.job].rung.units
                    self.listener.job_advanced(label, units, units, in_words(measured))
                    take(measured)
                case _:
                    relayed(event.what, self.listener)

        run_jobs(try_point, jobs, min(self.workers, len(jobs)), on_event)
        if failed:
            label, reason = next(iter(failed.items()))
            raise RunError(f"{label} failed: {reason}; --resume {self.folder.parent} goes on with it")

    def job(self, ask: Ask) -> TrialJob:
        """Return a trial as a process is told of it."""
        rung, refused, config = self.rungs[ask.rung], None, None
        try:
            config = self.config(ask.point, untouched=ask.trial == 0, rounds=rung.rounds)
        except InputError as error:
            refused = str(error)
        return TrialJob(
            ask=ask,
            config=config,
            refused=refused,
            rung=rung,
            limits=[str(limit) for limit in self.rules.limits],
            folder=self.folder / f"{ask.trial:04d}-{rung.name}",
            label=f"trial {ask.trial}, {rung.name}",
        )

    def config(self, point: Point, *, untouched: bool, rounds: int) -> TrainConfig:
        """Return the configuration of a trial, which is that of a point with the trials' images."""
        config = self.base.config if untouched else config_of(self.space, point, self.base)
        return config.model_copy(update={**self.images, **own_process(), "rounds": rounds})

    def possible(self, point: Point) -> bool:
        """Whether a run of a point would not be refused for a defense that acts nowhere."""
        return acts_somewhere(self.space, point, self.base)

    def same(self, point: Point) -> object:
        """Return what is equal for points that come to the same configuration."""
        try:
            return config_of(self.space, point, self.base).model_dump_json()
        except InputError:
            return tuple(sorted(point.items()))


def own_process() -> dict[str, object]:
    """Return changes to a configuration that is trained in a process of its own, and whose rounds nobody records."""
    return {"workers": 1, "record_rounds": [], "record_clients": [], "patience": None}


def in_words(measured: Measured) -> str:
    """Return what a trial reached, in a few words."""
    if not measured.ran:
        return measured.outcome
    inactive = f", changes nothing: {', '.join(measured.inactive)}" if measured.inactive else ""
    return f"accuracy {measured.accuracy:.4f}{inactive}"


def _measured(text: str) -> Measured:
    try:
        return Measured.model_validate_json(text)
    except ValidationError as error:  # of a process of our own: an error in this program
        raise RunError(f"a trial reported what is no trial: {error}") from None
