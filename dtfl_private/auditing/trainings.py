"""The trainings that an audit attacks: the run, others that differ in their seed alone, and each without defenses."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dtfl_private.attacking.replay import OpenedRun, open_run
from dtfl_private.attacking.results_file import result_key
from dtfl_private.attacking.undefended_run import TRAIN, as_long_as, undefended_folder
from dtfl_private.auditing.audit_config import AuditConfig
from dtfl_private.errors import InputError
from dtfl_private.experiments.run_folder import RunFolder
from dtfl_private.experiments.summary import final_accuracy
from dtfl_private.experiments.train import train
from dtfl_private.leakage.result import Result
from dtfl_private.runtime.progress import AsOneJob, Progress

NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Training:
    """A training, its undefended twin if it has one, and where what belongs to them is kept."""

    run: RunFolder
    twin: RunFolder | None
    folder: Path

    @property
    def undefended_accuracy(self) -> float | None:
        """Test accuracy of the twin after its last round."""
        return None if self.twin is None else final_accuracy(self.twin)


def trainings(
    opened: OpenedRun, config: AuditConfig, folder: Path, objects: Mapping[str, Any], listener: Progress
) -> list[Training]:
    """Return the trainings that an audit attacks, the run itself first; what is missing is trained, and kept.

    Args:
        opened: the run.
        config: how many there are, and where the undefended twin is; settled.
        folder: of the audit.
        objects: what `train` was given as objects.
        listener: hears of one job for each training.
    """
    first = Training(run=opened.folder, twin=_twin(opened, config.undefended, folder, objects, listener), folder=folder)
    seeds = range(1, config.training_seeds or 1)
    return [first, *(_other(opened, config, seed, folder, objects, listener) for seed in seeds)]


def check_trainings(opened: OpenedRun, config: AuditConfig) -> None:
    """Check before any work that the trainings can be had.

    Raises:
        InputError: the undefended run that is named is another one, or it is one and several are asked for.
    """
    if config.undefended in (TRAIN, NONE) or not opened.prepared.config.defense:
        return
    if (config.training_seeds or 1) > 1:
        raise InputError(
            f"--undefended {config.undefended} is one training, and {config.training_seeds} are asked for: "
            "use --undefended train"
        )
    undefended_folder(opened, config.undefended, opened.folder.path, dataset=None)


def _other(
    opened: OpenedRun,
    config: AuditConfig,
    number: int,
    folder: Path,
    objects: Mapping[str, Any],
    listener: Progress,
) -> Training:
    """Return the training whose seed is by ``number`` above the run's."""
    seed = opened.prepared.config.seed + number
    own = folder / f"seed-{seed}"
    config_of_seed = as_long_as(opened, opened.prepared.config.model_copy(update={"seed": seed}))
    label = f"training with seed {seed}"
    listener.jobs_announced([label])
    job = AsOneJob(listener, label)
    run = train(config_of_seed, out=own / "run", resume=True, listener=job, **objects).folder
    job.end()
    other = open_run(run, data_dir=config_of_seed.data_dir, allow_plugins=config_of_seed.allowed, **objects)
    return Training(run=run, twin=_twin(other, config.undefended, own, objects, listener), folder=own)


def _twin(
    opened: OpenedRun, where: str, folder: Path, objects: Mapping[str, Any], listener: Progress
) -> RunFolder | None:
    if where == NONE or not opened.prepared.config.defense:
        return None
    label = f"training seed {opened.prepared.config.seed} without defenses"
    if where == TRAIN:
        listener.jobs_announced([label])
    job = AsOneJob(listener, label)
    twin = undefended_folder(opened, where, folder / "undefended", dataset=objects["dataset"], listener=job)
    if where == TRAIN:
        job.end()
    return twin


def pooled(groups: Sequence[Sequence[Result]]) -> list[Result]:
    """Return the results of several trainings as one: mean values, and intervals that contain each training's own.

    So an interval covers the chance of attack, images and training, and is wide rather than narrow: three trainings
    are too few to say how they are distributed. The p-value is the largest: the trivial guess is beaten in each
    training. Results that not all trainings have are left out.
    """
    if len(groups) == 1:
        return list(groups[0])
    by_key = [{result_key(result): result for result in group} for group in groups]
    return [_together([own[key] for own in by_key]) for key in by_key[0] if all(key in own for own in by_key)]


def _together(results: Sequence[Result]) -> Result:
    def mean(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if len(known) == len(values) else None

    def end(values: Sequence[float | None], pick: Callable[[Iterable[float]], float]) -> float | None:
        known = [value for value in values if value is not None]
        return pick(known) if len(known) == len(values) else None

    return results[0].model_copy(
        update={
            "value": sum(result.value for result in results) / len(results),
            "ci_low": min(result.ci_low for result in results),
            "ci_high": max(result.ci_high for result in results),
            "baseline": mean([result.baseline for result in results]),
            "advantage": mean([result.advantage for result in results]),
            "advantage_ci_low": end([result.advantage_ci_low for result in results], min),
            "advantage_ci_high": end([result.advantage_ci_high for result in results], max),
            "p_value": end([result.p_value for result in results], max),
            "undefended": mean([result.undefended for result in results]),
            "n": min(result.n for result in results),
            "seeds": sum(result.seeds for result in results),
        }
    )
