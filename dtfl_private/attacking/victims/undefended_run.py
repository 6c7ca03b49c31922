"""The undefended run: the same data, seed and settings as a run with defenses, but none of them."""

from collections.abc import Sequence
from pathlib import Path

from dtfl_private.attacking.victims.replay import OpenedRun
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.differences import differences
from dtfl_private.experiments.config.toml_files import read_run_config
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.train import train
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.executor_choice import LOCAL

TRAIN = "train"

# What it may differ in.
MAY_DIFFER = frozenset({"defense", "on_budget", "workers", "executor", "data_dir", "download", "device"})


def as_long_as(opened: OpenedRun, config: TrainConfig) -> TrainConfig:
    """Return a configuration that trains for just as many rounds as a run did, which may have ended early."""
    return config.model_copy(update={"rounds": len(opened.records), "stop_at_target": False, "patience": None})


def undefended_folder(
    opened: OpenedRun, where: str, folder: Path, *, executor: str = LOCAL, callbacks: Sequence[Callback] = ()
) -> RunFolder:
    """Return the folder of a run without its defenses, which are trained only once.

    Args:
        opened: the run.
        where: its folder, or "train" to train it, or go on with its training.
        folder: where it is trained.
        executor: who trains it.
        callbacks: hear how the training proceeds.

    Raises:
        InputError: what is there is another run.
    """
    plain = as_long_as(opened, opened.prepared.config.model_copy(update={"defense": [], "executor": executor}))
    if where == TRAIN:
        objects = opened.objects.undefended().arguments()
        return train(plain, out=folder, resume=True, callbacks=callbacks, **objects).folder
    given = RunFolder(path=Path(where))
    other = read_run_config(given)
    changed = differences(plain, other, MAY_DIFFER)
    if changed or other.defense:
        raise InputError(
            f"'{given.path}' is not this run without defenses "
            f"({'; '.join(changed) or 'it has some'}): use --undefended train"
        )
    return given
