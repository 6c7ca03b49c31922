"""Where the folder of a run is, or will be."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dtfl_private.data.description import DataDescription, read_description
from dtfl_private.errors import InputError, RunError
from dtfl_private.experiments.config.differences import FREE_ON_RESUME, differences
from dtfl_private.experiments.config.toml_files import read_run_config, to_toml
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.run_folder.folder import (
    RunFolder,
    create_run_folder,
    disk_refusals_named,
    require_name,
    require_no_links,
)
from dtfl_private.experiments.run_folder.provenance import describe_environment, recorded_data
from dtfl_private.experiments.setup.prepare import Prepared
from dtfl_private.files.writing import require_writable, write_atomic

DEFAULT_RUNS = Path("runs")

# What environment.json says of times: deployed runs measure them.
SIMULATED = MappingProxyType({"clock": "simulated"})


def checked_place(
    prepared: Prepared, out: Path | None, resume: bool, free: Iterable[str] = FREE_ON_RESUME
) -> tuple[Path, bool]:
    """Return where the run's folder is or will be, and whether it is still to be made; nothing is left there.

    Args:
        prepared: the run.
        out: its folder; None: a fresh one.
        resume: go on with the run in it, if there is one.
        free: what of the configuration a resume may change.

    Raises:
        InputError: it cannot be made or written, or is of another run.
    """
    path = fresh_path(prepared.config) if out is None else out
    if resume and out is None:
        raise InputError("--resume needs --out RUN: the run folder to go on with")
    if not _is_used(path):  # on resume too: a run may have been killed before its folder was there
        require_name(path)
        require_writable(path.parent, f"run folder '{path}' cannot be made")
        return path, True
    if not resume:
        require_unused(path)
    folder = RunFolder(path=path)
    changed = differences(prepared.config, read_run_config(folder), free)
    if changed:
        raise InputError(f"run folder '{path}' has another configuration ({'; '.join(changed)}): choose another --out")
    if recorded_data(folder) != prepared.data_sha256:
        raise InputError(
            f"run folder '{path}' was started with other data: choose another --out, or the old --data-dir"
        )
    require_no_links(folder)
    require_writable(path, f"run folder '{path}' cannot be written")
    return path, False


def require_unused(path: Path) -> None:
    """Raise `InputError` where something is in the folder of a run that is to begin."""
    if _is_used(path):
        raise InputError(f"run folder '{path}' exists: add --resume to go on with it, or choose another --out")


def _is_used(path: Path) -> bool:
    return path.exists() and not (path.is_dir() and not any(path.iterdir()))


def new_folder(prepared: Prepared, path: Path, is_new: bool, more: Mapping[str, Any] = SIMULATED) -> RunFolder:
    """Return the run folder, which is made first if the run is new.

    That of a version which kept no description of the data, or one whose description is damaged, gets it now.

    Args:
        prepared: the run.
        path: of its folder.
        is_new: whether it is still to be made.
        more: what environment.json says besides.
    """
    if not is_new:
        folder = RunFolder(path=path)
        with disk_refusals_named(folder):
            _mend_description(folder, prepared.data)
        return folder
    environment = describe_environment(
        prepared.worker.numerics, prepared.workers, prepared.data_sha256, prepared.config.executor
    )
    written = to_toml(prepared.config), {**environment, **more}, prepared.data.document(), prepared.tokenizer
    return create_run_folder(path, *written)


def _mend_description(folder: RunFolder, data: DataDescription) -> None:
    try:
        kept = read_description(folder.dataset)
    except (FileNotFoundError, RunError):
        kept = None
    if kept != data:
        write_atomic(folder.dataset, data.document())


def fresh_path(config: TrainConfig) -> Path:
    """Return a path below ``runs`` that is not in use, named after data set, network and method."""
    words = (config.dataset, config.model, config.method)
    name = "-".join(re.sub(r"[^\w-]+", "", word.removeprefix("object:").partition(":")[0]) for word in words)
    number = 1
    while (path := DEFAULT_RUNS / f"{name}-{number:03d}").exists():
        number += 1
    return path
