"""Train: from a configuration to a run folder."""

import copy
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from dtfl_private.commands.leakage_budget import limit_tiers, open_budget
from dtfl_private.commands.partition import dealt
from dtfl_private.commands.recording import TranscriptWriter, check_recording
from dtfl_private.commands.run_listener import RunListener, Silent
from dtfl_private.commands.settings import (
    budget_settings,
    make_method,
    method_costs,
    method_schedule,
    optimizer_settings,
    plateau_settings,
)
from dtfl_private.config import (
    TrainConfig,
    differences,
    make_config,
    object_name,
    read_toml,
    resolved_norm,
    to_toml,
)
from dtfl_private.contracts import Scheduler
from dtfl_private.data.dataset import Dataset
from dtfl_private.data.preprocess import preprocessor_of, require_augmentable
from dtfl_private.defense import Defense, DefenseChain, RunFacts
from dtfl_private.environment.profiles import load_profiles
from dtfl_private.errors import InputError, RunError
from dtfl_private.federated.budget import end_of_run
from dtfl_private.federated.client import full_round
from dtfl_private.federated.optimizers import PlateauState
from dtfl_private.federated.round import FederatedState, Method, RoundSettings
from dtfl_private.federated.schedule import ScheduleState
from dtfl_private.federated.worker import GlobalWeights, WorkerSetup
from dtfl_private.leakage.budget import LeakageBudget
from dtfl_private.messages import MessageObserver
from dtfl_private.models.build import as_staged, build_model
from dtfl_private.models.heads import make_heads
from dtfl_private.models.staged import snapshot
from dtfl_private.plugins import create, explicit
from dtfl_private.printable import shown_value
from dtfl_private.privacy.compatibility import check_defenses, check_network, check_places, needs_group_norm
from dtfl_private.privacy.disclosure import disclosures
from dtfl_private.privacy.ledger import Ledger
from dtfl_private.randomness import isolated
from dtfl_private.record import (
    Record,
    RunFolder,
    append_record,
    create_run_folder,
    describe_environment,
    keep_records,
    locked,
    read_records,
    recorded_data,
    round_record,
    summarise,
    write_results,
)
from dtfl_private.report.curve import plot_training
from dtfl_private.runtime.checkpoint import load_checkpoint, save_checkpoint
from dtfl_private.runtime.device import choose_numerics, choose_workers, deterministic_kernels, one_thread
from dtfl_private.runtime.executors import RunExecutor, open_executor
from dtfl_private.runtime.files import output_path
from dtfl_private.tiers.defended import defended
from dtfl_private.tiers.table import TierTable, analyse

DEFAULT_RUNS = Path("runs")


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run and what it left behind."""

    folder: RunFolder
    config: TrainConfig
    records: Sequence[Record]
    summary: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A run that has been checked completely and has written nothing yet; ``notes`` are lines for the user."""

    config: TrainConfig
    method: Method
    settings: RoundSettings
    initial: FederatedState
    worker: WorkerSetup
    workers: int
    data_sha256: str
    notes: Sequence[str] = ()


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
    listener: RunListener | None = None,
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
        listener: hears how the run proceeds.

    Returns:
        The finished run.

    Raises:
        InputError: wrong input; nothing was written.
        RunError: the run could not go on; what is on disk can be resumed.
    """
    listener = listener or Silent()
    out = None if out is None else output_path(out)
    if config is None:
        run = RunFolder(path=Path(out)) if resume and out is not None else None
        config = read_run_config(run) if run is not None and run.config.is_file() else TrainConfig()
    if resume and out is not None:
        config = _with_tiers_of_run(config, RunFolder(path=Path(out)))
    with one_thread(), deterministic_kernels():
        prepared = prepare(config, dataset=dataset, model=model, scheduler=scheduler, defenses=defenses)
        if observers and prepared.workers > 1:
            raise InputError(f"observers see messages of this process only: set workers=1, not {prepared.workers}")
        folder = _open_folder(prepared, out, resume)
        with locked(folder):
            state, records = _where_to_start(folder, prepared, listener) if resume else (prepared.initial, [])
            listener.started(prepared.config, folder, prepared.settings, records)
            for line in prepared.notes:
                listener.note(line)
            executor = open_executor(prepared.worker, prepared.workers, observers)
            try:
                return _run(folder, prepared, state, records, executor, listener)
            except OSError as error:
                raise RunError(
                    f"run folder '{folder.path}' cannot be written: {error}; mend that, then --resume"
                ) from None
            finally:
                executor.close()


def prepare(
    config: TrainConfig,
    *,
    dataset: Dataset | None = None,
    model: nn.Module | None = None,
    scheduler: Scheduler | None = None,
    defenses: Sequence[Defense] | None = None,
) -> Prepared:
    """Check everything about a run and build what it needs; write nothing. Arguments as those of `train`."""
    for kind, given, contract in (("model", model, nn.Module), ("dataset", dataset, Dataset)):
        if given is not None and not isinstance(given, contract):
            raise InputError(f"{kind} is a {type(given).__name__}, expected a {contract.__name__}")
    for defense in defenses or ():
        if not isinstance(defense, Defense):
            raise InputError(
                f"defense {shown_value(defense)} is a {type(defense).__name__}, expected an object of a subclass of "
                "dtfl_private.Defense"
            )
    if config.stop_at_target and config.target_accuracy is None:
        raise InputError("stop_at_target needs a target: give target_accuracy too")
    chain = DefenseChain([create("defense", text) for text in config.defense] if defenses is None else defenses)
    norm = resolved_norm(config, chain)
    method = make_method(config.method)
    check_recording(config, method)
    check_places(chain, method.places, config.method.partition(":")[0])
    check_defenses(chain, norm, config.precision, config.local_epochs)
    numerics = choose_numerics(config.device, config.precision, config.memory_format, norm)
    names = _named_objects(dataset, model, scheduler, defenses)
    named = {key: names.get(key, getattr(config, key)) for key in ("dataset", "model", "defense")}
    audited = open_budget(config, method, {**named, "norm": norm})
    dataset, parts = dealt(config, dataset)
    require_augmentable(dataset, config.augment)
    classes = len(dataset.classes)
    if model is not None:
        model = as_staged(model, dataset.input_shape)
    else:
        model = build_model(config.model, input_shape=dataset.input_shape, classes=classes, norm=norm, seed=config.seed)
    check_network(chain, model)
    whole = analyse(model, dataset.input_shape, classes, numerics)
    in_use = whole
    if method.tiered:
        config, in_use = limit_tiers(config, whole, audited, named["model"], floor=chain.tier_floor)
    table = method_costs(config, method, whole, numerics, classes, named["model"])
    if method.cuts:
        table = defended(table, chain, dataset.input_shape, config.batch_size)
    if method.full_tier and not _cut_tiers(table, whole):
        raise InputError(
            f"tier floor {chain.tier_floor} leaves only the tier of the whole network: lower it, or use --method fedavg"
        )
    if method.pooled:
        parts = [np.sort(np.concatenate(parts))]
    images_K = np.array([len(part) for part in parts])
    chain = chain.calibrated(
        RunFacts(
            rounds=config.rounds,
            batch_size=config.batch_size,
            local_epochs=config.local_epochs,
            classes=classes,
            records_K=tuple(images_K.tolist()),
        )
    )
    schedule = method_schedule(config, method, table, scheduler, images_K)
    with isolated(config.seed, "heads"):  # of all tiers, so that a tier's head does not depend on which are allowed
        heads = make_heads({row.tier: row.cut_shape for row in whole.rows if method.has_heads}, classes)
    worker = WorkerSetup(
        work=method.work(),
        model=copy.deepcopy(model).to(dtype=numerics.weight_dtype),
        heads={tier: heads[tier].to(dtype=numerics.weight_dtype) for tier in table.tiers_M.tolist() if tier in heads},
        train_images=dataset.train_images,
        train_labels=dataset.train_labels,
        test_images=dataset.test_images,
        test_labels=dataset.test_labels,
        parts=parts,
        normaliser=preprocessor_of(dataset, constant=needs_group_norm(chain)),
        augmentations=config.augment,
        optimizer=optimizer_settings(config),
        batch_size=config.batch_size,
        local_epochs=config.local_epochs,
        numerics=numerics,
        defense=chain,
        classes=classes,
        seed=config.seed,
    )
    # Every client that has something to spend has a ledger from the start.
    ledgers: dict[int, Ledger] = dict.fromkeys(range(len(parts)), ()) if _states_guarantees(chain) else {}
    budget = replace(budget_settings(config, chain, images_K), sends=method.sends, full_tier=method.full_tier)
    if ledgers and (reason := end_of_run(ledgers, budget)) is not None:
        raise InputError(f"not a single round is within the privacy budget ({reason}): raise epsilon or the noise")
    participants = max(1, round(config.fraction * config.clients))
    workers = choose_workers(config.workers, numerics.device, participants)
    resolved = _explicit(config, names).model_copy(
        update={
            "data_dir": config.data_dir and config.data_dir.absolute(),
            "max_train_images": len(dataset.train_labels),
            "norm": norm,
            "tiers": len(in_use.rows) if method.tiered else len(table.rows),
            "allowed_tiers": None if config.allowed_tiers is None else _cut_tiers(table, whole),
            "leakage_budget": config.leakage_budget and str(LeakageBudget.parse(config.leakage_budget).absolute()),
            **({} if method.tiered else {"scheduler": f"static:m={table.rows[0].tier}"}),
            "device": numerics.device,
            "memory_format": numerics.memory_format,
            "workers": workers,
            "profiles": list(load_profiles(config.profiles)),
        }
    )
    return Prepared(
        config=resolved,
        method=method,
        settings=RoundSettings(
            schedule=schedule,
            plateau=plateau_settings(config),
            budget=budget,
        ),
        initial=FederatedState(
            round=0,
            weights=GlobalWeights(
                model=snapshot(worker.model),
                heads={tier: snapshot(head) for tier, head in worker.heads.items()},
            ),
            schedule=ScheduleState.start(schedule),
            plateau=PlateauState(lr=config.lr),
            ledgers=ledgers,
            extras=method.initial_extras(worker),
        ),
        worker=worker,
        workers=workers,
        data_sha256=dataset.fingerprint(),
        notes=(*dataset.notes, *(() if audited is None else audited.notes(in_use))),
    )


def _cut_tiers(table: TierTable, network: TierTable) -> list[int]:
    """Return the tiers of a method's table at which the network is cut."""
    return [tier for tier in table.tiers_M.tolist() if tier in network.tiers_M]


def _states_guarantees(chain: DefenseChain) -> bool:
    return bool(chain.guarantees(full_round(chain, records=1, batch_size=1, local_epochs=1)))


def _named_objects(
    dataset: Dataset | None,
    model: nn.Module | None,
    scheduler: Scheduler | None,
    defenses: Sequence[Defense] | None,
) -> dict[str, Any]:
    """Return how the configuration names what was passed as objects."""
    given = {"dataset": dataset, "model": model, "scheduler": scheduler}
    names: dict[str, Any] = {field: object_name(thing) for field, thing in given.items() if thing is not None}
    if defenses is not None:
        names["defense"] = [object_name(defense) for defense in defenses]
    return names


def _explicit(config: TrainConfig, names: dict[str, Any]) -> TrainConfig:
    """Return the configuration with every plug-in's settings written out."""
    written: dict[str, Any] = {
        field: explicit(field, getattr(config, field))
        for field in ("dataset", "partition", "model", "method", "scheduler")
        if field not in names
    }
    if "defense" not in names:
        written["defense"] = [explicit("defense", text) for text in config.defense]
    return config.model_copy(update={**written, **names})


def read_run_config(folder: RunFolder) -> TrainConfig:
    """Return the resolved configuration of a run folder.

    Raises:
        InputError: there is none, or it is damaged.
    """
    if not folder.config.exists():
        raise InputError(f"'{folder.path}' is not a run folder: it has no config.toml")
    return make_config(read_toml(folder.config), str(folder.config))


def _with_tiers_of_run(config: TrainConfig, folder: RunFolder) -> TrainConfig:
    """Return the configuration with the tiers that the run was begun with, if its leakage budget is the same.

    The audit may have changed or gone since then; a resumed run goes on as it began.
    """
    if config.leakage_budget is None or config.allowed_tiers is not None or not folder.config.is_file():
        return config
    begun = read_run_config(folder)
    same = begun.leakage_budget == str(LeakageBudget.parse(config.leakage_budget).absolute())
    return config.model_copy(update={"allowed_tiers": begun.allowed_tiers}) if same else config


def _open_folder(prepared: Prepared, out: Path | str | None, resume: bool) -> RunFolder:
    """Return the run folder to write to: a new one, or on resume the existing one of the same configuration."""
    path = _fresh_path(prepared.config) if out is None else output_path(out)
    if resume and out is None:
        raise InputError("--resume needs --out RUN: the run folder to go on with")
    used = path.exists() and not (path.is_dir() and not any(path.iterdir()))
    if not used:  # on resume too: a run may have been killed before its folder was there
        environment = describe_environment(prepared.worker.numerics, prepared.workers, prepared.data_sha256)
        return create_run_folder(path, to_toml(prepared.config), environment)
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
    return folder


def _fresh_path(config: TrainConfig) -> Path:
    words = (config.dataset, config.model, config.method)
    name = "-".join(re.sub(r"[^\w-]+", "", word.removeprefix("object:").partition(":")[0]) for word in words)
    number = 1
    while (path := DEFAULT_RUNS / f"{name}-{number:03d}").exists():
        number += 1
    return path


def _where_to_start(
    folder: RunFolder, prepared: Prepared, listener: RunListener
) -> tuple[FederatedState, list[Record]]:
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


def _run(
    folder: RunFolder,
    prepared: Prepared,
    state: FederatedState,
    records: list[Record],
    executor: RunExecutor,
    listener: RunListener,
) -> Run:
    config = prepared.config
    transcripts = TranscriptWriter(prepared.worker, config, folder.transcript)
    # On a resume of a finished run there is no round left, but the results may not have been written.
    if state.round:
        _write_results(folder, prepared, state, records)
    while state.round < config.rounds and _why_stopped(prepared, state, records) is None:
        start = time.perf_counter()
        before = state
        state, outcome = prepared.method.run_round(before, prepared.settings, executor, listener)
        record = round_record(outcome, time.perf_counter() - start)
        # Before the checkpoint: a run that is killed in between records this round when it is resumed.
        transcripts.record(before, outcome.plan)
        # The record first: a resume drops records that no checkpoint has, but cannot make up missing ones.
        append_record(folder, record)
        save_checkpoint(folder.checkpoint, state)
        records.append(record)
        _write_results(folder, prepared, state, records)
        listener.finished(record)
    stopped = _why_stopped(prepared, state, records)
    if stopped is not None:
        listener.note(f"the run ends after round {state.round} of {config.rounds}: {stopped}")
    plot_training(records, folder.plot, title=f"{config.method}, {config.model}, {config.dataset}")
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
    return end_of_run(state.ledgers, prepared.settings.budget)


def _summary(prepared: Prepared, state: FederatedState, records: Sequence[Record]) -> dict[str, Any]:
    config, stopped = prepared.config, _why_stopped(prepared, state, records)
    summary = summarise(records, config.target_accuracy, config.rounds, stopped)
    # The tighter accountant takes seconds: for the final figure only.
    final = state.round == config.rounds or stopped is not None
    method = prepared.method
    privacy = disclosures(
        prepared.worker.defense, state.ledgers, sends=method.sends, full_tier=method.full_tier, precise=final
    )
    return {**summary, "privacy": privacy}


def _write_results(folder: RunFolder, prepared: Prepared, state: FederatedState, records: Sequence[Record]) -> None:
    config = prepared.config
    description = {
        "model": config.model,
        "dataset": config.dataset,
        "norm": config.norm,
        "round": str(state.round),
    }
    write_results(folder, state.weights.model, _summary(prepared, state, records), description)
