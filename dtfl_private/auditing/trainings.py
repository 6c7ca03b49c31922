"""The trainings that an audit attacks: the run, others that differ in their seed alone, and each without defenses."""

from dataclasses import dataclass
from pathlib import Path

from dtfl_private.attacking.victims.replay import OpenedRun, open_run
from dtfl_private.attacking.victims.undefended_run import TRAIN, as_long_as, undefended_folder
from dtfl_private.auditing.audit_config import AuditConfig
from dtfl_private.errors import InputError
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.run_folder.summary import final_accuracy
from dtfl_private.experiments.train import train
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.progress import AsOneJob

NONE = "none"


@dataclass(frozen=True, kw_only=True)
class AttackedTraining:
    """A training that is attacked.

    Attributes:
        run: where it lies.
        undefended: where the same without defenses lies; None if the audit has none.
        folder: of the attacks on it.
    """

    run: RunFolder
    undefended: RunFolder | None
    folder: Path

    @property
    def undefended_accuracy(self) -> float | None:
        """Test accuracy without defenses, after the last round."""
        return None if self.undefended is None else final_accuracy(self.undefended)


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
    undefended_folder(opened, config.undefended, opened.folder.path)


def attacked_trainings(
    opened: OpenedRun, config: AuditConfig, folder: Path, progress: Callback
) -> list[AttackedTraining]:
    """Return the trainings that an audit attacks, the run itself first; what is missing is trained, and kept.

    Args:
        opened: the run.
        config: how many there are, and where the undefended run is; settled.
        folder: of the audit.
        progress: hears of one job for each training.
    """
    found = [_with_undefended(opened, config, folder, progress)]
    for number in range(1, config.training_seeds or 1):
        seed = opened.prepared.config.seed + number
        own = folder / f"seed-{seed}"
        other = _trained_with_seed(opened, seed, config.executor, own, progress)
        found.append(_with_undefended(other, config, own, progress))
    return found


def _trained_with_seed(opened: OpenedRun, seed: int, executor: str, folder: Path, progress: Callback) -> OpenedRun:
    """Return the run trained with another seed."""
    config = as_long_as(opened, opened.prepared.config.model_copy(update={"seed": seed, "executor": executor}))
    label = f"training with seed {seed}"
    progress.jobs_announced([label])
    with AsOneJob(progress, label) as job:
        run = train(config, out=folder / "run", resume=True, callbacks=[job], **opened.objects.arguments()).folder
    return open_run(run, data_dir=config.data_dir, objects=opened.objects, allow_plugins=config.allowed)


def _with_undefended(opened: OpenedRun, config: AuditConfig, folder: Path, progress: Callback) -> AttackedTraining:
    """Return a training together with the same without defenses, which is where the configuration says."""
    where = config.undefended
    if where == NONE or not opened.prepared.config.defense:
        return AttackedTraining(run=opened.folder, undefended=None, folder=folder)
    label = f"training seed {opened.prepared.config.seed} without defenses"
    if where == TRAIN:
        progress.jobs_announced([label])
        with AsOneJob(progress, label) as job:
            undefended = undefended_folder(
                opened, where, folder / "undefended", executor=config.executor, callbacks=[job]
            )
    else:
        undefended = undefended_folder(opened, where, folder / "undefended")
    return AttackedTraining(run=opened.folder, undefended=undefended, folder=folder)
