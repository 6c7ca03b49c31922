"""Train: from a configuration to a run folder."""

import itertools
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from dtfl_private.data.dataset import Dataset
from dtfl_private.errors import InputError, RunError
from dtfl_private.experiments.checkpoint import load_checkpoint, save_checkpoint
from dtfl_private.experiments.config import TrainConfig, differences
from dtfl_private.experiments.config_files import read_run_config, to_toml
from dtfl_private.experiments.opening_lines import opening_lines
from dtfl_private.experiments.provenance import describe_environment, recorded_data
from dtfl_private.experiments.recording import TranscriptWriter
from dtfl_private.experiments.rounds_file import append_record, keep_records, read_records
from dtfl_private.experiments.run_folder import RunFolder, create_run_folder, locked, require_name, require_no_links
from dtfl_private.experiments.run_objects import RunObjects
from dtfl_private.experiments.setup import Prepared, prepare
from dtfl_private.experiments.summary import summarise, write_results
from dtfl_private.experiments.trial import try_one_batch
from dtfl_private.files.writing import output_path, require_writable
from dtfl_private.leakage.leakage_budget import LeakageBudget
from dtfl_private.privacy.budget import end_of_run
from dtfl_private.privacy.disclosure import disclosures
from dtfl_private.protection.base import Defense
from dtfl_private.protocol.contracts import Scheduler
from dtfl_private.protocol.messages import MessageObserver
from dtfl_private.report.pictures.training import plot_training
from dtfl_private.runtime.device import deterministic_kernels, one_thread
from dtfl_private.runtime.executors import open_executor
from dtfl_private.runtime.progress import Progress
from dtfl_private.training.executor import Executor
from dtfl_private.training.record import Record, round_record
from dtfl_private.training.round import run_round
from dtfl_private.training.state import FederatedState

DEFAULT_RUNS = Path("runs")


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run and what it left behind."""

    folder: RunFolder
    config: TrainConfig
    records: Sequence[Record]
    summary: dict[str, Any]


def train(
    config: TrainConfig | None = None,
    *,
    out: Path | str | None = None,
    resume: bool = False,
    dataset: Dataset | None = None,
    model: nn.Module | None = None,
    scheduler: Scheduler | None = None,
    defenses: Sequence[Defense] | None = None,
    observers: Sequence[MessageObserver] = (),
    allow_plugins: Iterable[str] = (),
    listener: Progress | None = None,
) -> Run:
    """Train a network federatedly and leave a run folder.

    Args:
        config: what to train and how; if None, the embedded default, or on resume the run's own configuration.
        out: run folder; by default a fresh one below ``runs``.
        resume: go on with the run in ``out`` after its last intact checkpoint, or start it if there is none.
        dataset: data set to use instead of the one the configuration names.
        model: network to use instead, starting from the weights it has; it is left as it was. One that is not a
            StagedModel is cut automatically.
        scheduler: scheduler to use instead.
        defenses: defenses to use instead, applied in this order.
        observers: called with every message as the server receives it; needs ``workers=1``.
        allow_plugins: modules whose objects a configuration that was read from a file may name
            (``package.module:function``); what a `TrainConfig` in a program names is allowed.
        listener: hears how the run proceeds.

    Returns:
        The finished run.

    Raises:
        InputError: wrong input; nothing was written.
        RunError: the run could not go on; what is on disk can be resumed.
    """
    listener = listener or Progress()
    objects = RunObjects(dataset=dataset, model=model, scheduler=scheduler, defenses=defenses)
    out = None if out is None else output_path(out)
    if config is None:
        run = RunFolder(path=out) if resume and out is not None else None
        config = read_run_config(run) if run is not None and run.config.is_file() else TrainConfig()
    config = config.allowing(allow_plugins)
    if resume and out is not None:
        config = _with_tiers_of_run(config, RunFolder(path=out))
    with one_thread(), deterministic_kernels():
        prepared = prepare(config, objects)
        if observers and prepared.workers > 1:
            raise InputError(f"observers see messages of this process only: set workers=1, not {prepared.workers}")
        path, is_new = _checked_place(prepared, out, resume)
        if is_new:
            _try_out(prepared)
        executor = open_executor(prepared.worker, prepared.workers, observers)
        try:
            if is_new:  # workers that cannot start leave no folder behind
                executor.start()
            folder = _new_folder(prepared, path if out is not None else _fresh_path(prepared.config), is_new)
            with locked(folder):
                state, records = _where_to_start(folder, prepared, listener) if resume else (prepared.initial, [])
                listener.run_started(
                    folder.path,
                    prepared.config.rounds,
                    records,
                    partial(opening_lines, prepared.config, folder.path, prepared.settings),
                )
                for line in prepared.notes:
                    listener.note(line)
                if state.round == 0:
                    for message, observer in itertools.product(prepared.statistics, observers):
                        observer(message)
                return _written(folder, prepared, state, records, executor, listener)
        finally:
            executor.close()


def _with_tiers_of_run(config: TrainConfig, folder: RunFolder) -> TrainConfig:
    """Return the configuration with the tiers that the run was begun with, if its leakage budget is the same.

    The audit may have changed or gone since then; a resumed run goes on as it began.
    """
    if config.leakage_budget is None or config.allowed_tiers is not None or not folder.config.is_file():
        return config
    begun = read_run_config(folder)
    same = begun.leakage_budget == str(LeakageBudget.parse(config.leakage_budget).absolute())
    return config.model_copy(update={"allowed_tiers": begun.allowed_tiers}) if same else config


def _checked_place(prepared: Prepared, out: Path | None, resume: bool) -> tuple[Path, bool]:
    """Return where the run's folder is or will be, and whether it is still to be made; nothing is left there.

    Raises:
        InputError: it cannot be made or written, or is of another run.
    """
    path = _fresh_path(prepared.config) if out is None else out
    if resume and out is None:
        raise InputError("--resume needs --out RUN: the run folder to go on with")
    used = path.exists() and not (path.is_dir() and not any(path.iterdir()))
    if not used:  # on resume too: a run may have been killed before its folder was there
        require_name(path)
        require_writable(path.parent, f"run folder '{path}' cannot be made")
        return path, True
    if not resume:
        raise InputError(f"run folder '{path}' exists: add --resume to go on with it, or choose another --out")
    folder = RunFolder(path=path)
    changed = differences(prepared.config, read_run_config(folder))
    if changed:
        raise InputError(f"run folder '{path}' has another configuration ({'; '.join(changed)}): choose another --out")
    if recorded_data(folder) != prepared.data_sha256:
        raise InputError(
            f"run folder '{path}' was started with other data: choose another --out, or the old --data-dir"
        )
    require_no_links(folder)
    require_writable(path, f"run folder '{path}' cannot be written")
    return path, False


def _new_folder(prepared: Prepared, path: Path, is_new: bool) -> RunFolder:
    if not is_new:
        return RunFolder(path=path)
    environment = describe_environment(prepared.worker.numerics, prepared.workers, prepared.data_sha256)
    return create_run_folder(path, to_toml(prepared.config), environment)


def _try_out(prepared: Prepared) -> None:
    """Train one small batch in the deepest tier, and in that of the whole network if there is one beside it."""
    tiers = prepared.settings.schedule.table.tiers_M.tolist()
    cut = [tier for tier in tiers if tier < prepared.settings.schedule.table.modules]
    tried = sorted({*cut[-1:], tiers[-1]})
    try_one_batch(prepared.method, prepared.worker, prepared.initial, tried)


def _fresh_path(config: TrainConfig) -> Path:
    words = (config.dataset, config.model, config.method)
    name = "-".join(re.sub(r"[^\w-]+", "", word.removeprefix("object:").partition(":")[0]) for word in words)
    number = 1
    while (path := DEFAULT_RUNS / f"{name}-{number:03d}").exists():
        number += 1
    return path


def _where_to_start(folder: RunFolder, prepared: Prepared, listener: Progress) -> tuple[FederatedState, list[Record]]:
    """Return the last intact state and the records of the rounds up to it; later records are dropped."""
    records, torn = read_records(folder)
    if torn:
        listener.note(torn)
    state = load_checkpoint(folder.checkpoint, prepared.initial, prepared.settings.schedule, listener.note)
    if state is None:
        listener.note("no checkpoint yet: starting from the beginning")
        state = prepared.initial
    if len(records) < state.round:
        raise RunError(
            f"{folder.rounds} holds {len(records)} rounds, the checkpoint {state.round}: "
            "start again in a new --out folder"
        )
    if torn or len(records) > state.round:
        keep_records(folder, records[: state.round])
    return state, records[: state.round]


def _written(
    folder: RunFolder,
    prepared: Prepared,
    state: FederatedState,
    records: list[Record],
    executor: Executor,
    listener: Progress,
) -> Run:
    """Run, and say of a disk that refuses what is written that it does."""
    try:
        return _run(folder, prepared, state, records, executor, listener)
    except OSError as error:
        raise RunError(f"run folder '{folder.path}' cannot be written: {error}; mend that, then --resume") from None


def _run(
    folder: RunFolder,
    prepared: Prepared,
    state: FederatedState,
    records: list[Record],
    executor: Executor,
    listener: Progress,
) -> Run:
    config = prepared.config
    transcripts = TranscriptWriter(prepared.worker, config, folder.transcript)
    # On a resume of a finished run there is no round left, but the results may not have been written.
    if state.round:
        _write_results(folder, prepared, state, records)
    while state.round < config.rounds and _why_stopped(prepared, state, records) is None:
        start = time.perf_counter()
        before = state
        state, outcome = run_round(prepared.method, before, prepared.settings, executor, listener)
        record = round_record(outcome, time.perf_counter() - start)
        # Before the checkpoint: a run that is killed in between records this round when it is resumed.
        transcripts.record(before, outcome.plan)
        # The record first: a resume drops records that no checkpoint has, but cannot make up missing ones.
        append_record(folder, record)
        save_checkpoint(folder.checkpoint, state)
        records.append(record)
        _write_results(folder, prepared, state, records)
        listener.round_finished(record)
    stopped = _why_stopped(prepared, state, records)
    if stopped is not None:
        listener.note(f"the run ends after round {state.round} of {config.rounds}: {stopped}")
    return Run(
        folder=folder,
        config=config,
        records=records,
        summary=_summary(prepared, state, records),
    )


def _why_stopped(prepared: Prepared, state: FederatedState, records: Sequence[Record]) -> str | None:
    """Return why there is to be no further round although some are left, or None."""
    config = prepared.config
    if state.round >= config.rounds:
        return None
    best = max((record["test_accuracy"] for record in records), default=0.0)
    if config.stop_at_target and config.target_accuracy is not None and best >= config.target_accuracy:
        return f"the target accuracy {config.target_accuracy:g} is reached"
    return end_of_run(state.ledgers, prepared.settings.privacy)


def _summary(prepared: Prepared, state: FederatedState, records: Sequence[Record]) -> dict[str, Any]:
    config, stopped = prepared.config, _why_stopped(prepared, state, records)
    summary = summarise(records, config.target_accuracy, config.rounds, stopped)
    method = prepared.method
    privacy = disclosures(
        prepared.worker.defense,
        state.ledgers,
        sends=method.sends,
        full_tier=method.full_tier,
        statistics=prepared.settings.privacy.statistics,
    )
    return {**summary, "privacy": privacy}


def _write_results(folder: RunFolder, prepared: Prepared, state: FederatedState, records: Sequence[Record]) -> None:
    """Write what a run has come to; the summary, which says whether it has ended, is the last thing of all."""
    config = prepared.config
    summary = _summary(prepared, state, records)
    if summary["finished"]:
        plot_training(records, folder.plot, title=f"{config.method}, {config.model}, {config.dataset}")
    description = {
        "model": config.model,
        "dataset": config.dataset,
        "norm": config.norm,
        "round": str(state.round),
    }
    write_results(folder, state.weights.model, summary, description)
