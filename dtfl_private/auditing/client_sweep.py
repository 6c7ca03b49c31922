"""Attack all runs of a sweep client by client, several at once, and collect what leaks against what clients are like.

A run's figures are in NAME.clients.json next to its folder, and what is there is not attacked again.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dtfl_private.attacking.victims.replay import open_run
from dtfl_private.auditing.client_leakage import leakage_of_clients, require_names
from dtfl_private.errors import InputError, RunError
from dtfl_private.experiments.attack_table import AttackTable
from dtfl_private.experiments.planned_run import PlannedRun
from dtfl_private.experiments.run_folder.folder import RunFolder, locked, require_no_links
from dtfl_private.experiments.run_folder.summary import read_summary
from dtfl_private.files import reading
from dtfl_private.files.writing import write_atomic
from dtfl_private.leakage.results.result import Finite, Name, Positive
from dtfl_private.report.client_sweep import ALL, ClientPoint, ClientSweep
from dtfl_private.report.words.numbers import number_of
from dtfl_private.runtime.callback import Callback, told
from dtfl_private.runtime.device import choose_device, choose_workers, deterministic_kernels, one_thread
from dtfl_private.runtime.jobs import Ended, Report, Reported, run_jobs
from dtfl_private.runtime.progress import Relay, relayed

LARGEST_BYTES = 2**26
MOST_ROWS = 1_000_000


class _Row(BaseModel):
    """A `LeakageRow` as it is read."""

    model_config = ConfigDict(extra="forbid")

    client: Annotated[int, Field(ge=0)]
    attack: Name
    tier: Positive
    aux: Name
    metric: Name
    n: Positive
    value: Finite
    guess: Finite
    recovered: Annotated[Finite, Field(ge=-1, le=1)]
    records: Positive
    label_entropy: Annotated[Finite, Field(ge=0)]
    oddness: Annotated[Finite, Field(ge=0)]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    asked: str
    rows: Annotated[list[_Row], Field(max_length=MOST_ROWS)]
    left_out: Annotated[list[str], Field(max_length=MOST_ROWS)]


def attack_sweep(
    title: str,
    runs: Sequence[PlannedRun],
    tables: Sequence[AttackTable],
    folder: Path,
    *,
    parallel: int | None = None,
    callbacks: Sequence[Callback] = (),
) -> ClientSweep:
    """Attack all runs of a sweep that have not been attacked yet, and return the figures of all.

    Args:
        title: what they show.
        runs: of the preset, which have ended.
        tables: the attacks, and the adversary's auxiliary data.
        folder: of the sweep.
        parallel: runs at once, each in a one-thread process; by default one per core, and one in all on a GPU.
        callbacks: hear how the attacks proceed.

    Raises:
        InputError: an attack or auxiliary data that there is not, or a file of another preset.
        RunError: a run could not be attacked; others were.
    """
    require_names(tables)
    done = {run.name: _read(folder, run, tables) for run in runs}
    waiting = [run for run in runs if done[run.name] is None]
    with told(callbacks) as listener:
        if len(waiting) < len(runs):
            listener.note(f"{len(runs) - len(waiting)} of {number_of(len(runs), 'run')} had been attacked before")
        listener.jobs_announced([run.name for run in waiting], [1] * len(waiting))
        _attack_all(waiting, tables, folder, parallel, listener)
    points: list[ClientPoint] = []
    left_out: dict[str, None] = {}
    for run in runs:
        file = done[run.name] or _read(folder, run, tables)
        if file is None:
            raise RunError(f"'{_path(folder, run.name)}' is gone: repeat the command")
        group, seed = run.name.rpartition(f"seed{run.config.seed}")[0].rstrip("-") or ALL, run.config.seed
        points += [ClientPoint(group=group, seed=seed, **row.model_dump()) for row in file.rows]
        left_out |= dict.fromkeys(f"{run.name}: {line}" for line in file.left_out)
    return ClientSweep(title=title, points=points, left_out=list(left_out))


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.clients.json"


def _asked(folder: Path, run: PlannedRun, tables: Sequence[AttackTable]) -> str:
    """Return a hash of all that a run's figures depend on."""
    reached = read_summary(RunFolder(path=folder / run.name)).get("final_loss")
    request = [
        [table.model_dump(mode="json") for table in tables],
        run.config.model_dump(mode="json", exclude={"data_dir"}),
        reached,
    ]
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def _read(folder: Path, run: PlannedRun, tables: Sequence[AttackTable]) -> _File | None:
    """Return the figures of a run that was attacked before; None if it was not.

    Raises:
        InputError: they cannot be read, or are of another preset.
    """
    path = _path(folder, run.name)
    if not path.exists():
        return None
    try:
        file = _File.model_validate(reading.read_json(path, most_bytes=LARGEST_BYTES))
    except (OSError, ValueError) as error:
        why = "it is none" if isinstance(error, ValidationError) else reading.reason(error)
        raise InputError(f"leakage by client '{path}' cannot be read: {why}: remove it") from None
    if file.asked != _asked(folder, run, tables):
        raise InputError(f"'{path}' is of other attacks or of another training: remove it, or choose another --out")
    return file


def _attack_all(
    waiting: Sequence[PlannedRun], tables: Sequence[AttackTable], folder: Path, parallel: int | None, listener: Callback
) -> None:
    """Attack runs, and raise `RunError` for the first that fails."""
    failed: list[str] = []

    def on_event(event: Reported | Ended) -> None:
        name = waiting[event.job].name
        if isinstance(event, Reported):
            relayed(event.what, listener)
            return
        if event.error is not None:
            failed.append(f"'{name}': {event.error}")
        listener.job_finished(name, error=event.error)

    if waiting:
        processes = parallel or choose_workers(None, choose_device(waiting[0].config.device), len(waiting))
        run_jobs(partial(_attack_one, tables, folder), waiting, processes, on_event)
    if failed:
        raise RunError(f"{number_of(len(failed), 'attack')} failed; {failed[0]}; the same command goes on with them")


def _attack_one(tables: Sequence[AttackTable], folder: Path, run: PlannedRun, report: Report) -> None:
    """Attack a run and write its file; this is what a process does."""
    Relay(report).job_started(run.name)
    with deterministic_kernels(), one_thread():
        opened = open_run(folder / run.name, data_dir=run.config.data_dir, allow_plugins=run.config.allowed)
        require_no_links(opened.folder)
        opened.folder.attacks.mkdir(exist_ok=True)
        with locked(RunFolder(path=opened.folder.attacks)):
            found = leakage_of_clients(opened, tables, opened.folder.attacks, Callback())
    rows = [_Row.model_validate(asdict(row)) for row in found.rows]
    file = _File(asked=_asked(folder, run, tables), rows=rows, left_out=list(found.left_out))
    write_atomic(_path(folder, run.name), (file.model_dump_json() + "\n").encode())
