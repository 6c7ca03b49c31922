"""Open the folder of a run, which may be anybody's."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from dtfl_private.experiments.config.toml_files import read_run_config
from dtfl_private.experiments.run import Run
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.run_folder.rounds_file import read_records
from dtfl_private.experiments.run_folder.summary import read_summary
from dtfl_private.plugins.own_objects import allowance

if TYPE_CHECKING:
    from torch import nn


def load_run(path: Path | str, *, model: "nn.Module | None" = None, allow_plugins: Iterable[str] = ()) -> Run:
    """Open a run folder: its network, its classes, its records, its audit.

    No file of it runs code, whoever made it.

    Args:
        path: of the folder.
        model: the network, where `train` was given it as an object; its weights do not matter, and it is left as it
            was.
        allow_plugins: modules whose objects the run's configuration may name (``package.module:function``).

    Raises:
        InputError: it is no run folder, or its configuration is damaged.
        RunError: its records are damaged.
    """
    folder = RunFolder(path=Path(path))
    config = read_run_config(folder, allowed=allowance(allow_plugins))
    records, _ = read_records(folder)
    return Run(folder=folder, config=config, records=records, summary=read_summary(folder), given_model=model)
