"""Train: from a configuration to a run folder."""

import itertools
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from torch import nn

from dtfl_private.data.from_python import given_dataset
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.toml_files import read_run_config
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.opening_lines import opening_lines
from dtfl_private.experiments.resume import where_to_start, with_tiers_of_run
from dtfl_private.experiments.run import Run
from dtfl_private.experiments.run_folder.folder import RunFolder, disk_refusals_named, locked
from dtfl_private.experiments.run_folder.place import checked_place, fresh_path, new_folder
from dtfl_private.experiments.run_folder.recording_writer import TranscriptWriter
from dtfl_private.experiments.setup.prepare import Prepared, participants, prepare
from dtfl_private.experiments.setup.run_objects import RunObjects
from dtfl_private.experiments.setup.trial import try_out
from dtfl_private.experiments.train_loop import run_rounds
from dtfl_private.files.writing import output_path
from dtfl_private.protection.base import Defense
from dtfl_private.protocol.contracts import Scheduler
from dtfl_private.protocol.messages import MessageObserver
from dtfl_private.runtime.callback import Callback, told
from dtfl_private.runtime.device import deterministic_kernels, one_thread
from dtfl_private.runtime.executors import open_executor
from dtfl_private.training.round_record import Record
from dtfl_private.training.state import FederatedState


def train(
    config: TrainConfig | None = None,
    *,
    out: Path | str | None = None,
    resume: bool = False,
    dataset: object = None,
    model: nn.Module | None = None,
    scheduler: Scheduler | None = None,
    defenses: Sequence[Defense] | None = None,
    observers: Sequence[MessageObserver] = (),
    allow_plugins: Iterable[str] = (),
    callbacks: Sequence[Callback] = (),
) -> Run:
    """Train a network federatedly and leave a run folder.

    Args:
        config: what to train and how; if None, the embedded default, or on resume the run's own configuration.
        out: run folder; by default a fresh one below ``runs``.
        resume: go on with the run in ``out`` after its last intact checkpoint, or start it if there is none.
        dataset: data to use instead of the data set that the configuration names: an `ImageDataset`, a
            ``torch.utils.data.Dataset``, a Hugging Face dataset, or ``(images, labels)`` as arrays; or a pair of those,
            training and test images. See `as_dataset`.
        model: network to use instead, starting from the weights it has; it is left as it was. One that is not a
            StagedModel is cut automatically.
        scheduler: scheduler to use instead.
        defenses: defenses to use instead, applied in this order.
        observers: called with every message as the server receives it; needs ``workers=1``
            and ``executor="local"``.
        allow_plugins: modules whose objects a configuration that was read from a file may name
            (``package.module:function``); what a `TrainConfig` in a program names is allowed.
        callbacks: hear how the run proceeds; one of them may end it.

    Returns:
        The finished run.

    Raises:
        InputError: wrong input; nothing was written.
        RunError: the run could not go on; what is on disk can be resumed.
    """
    with told(callbacks) as listener, one_thread(), deterministic_kernels():
        objects = RunObjects(dataset=given_dataset(dataset), model=model, scheduler=scheduler, defenses=defenses)
        out = None if out is None else output_path(out)
        config = _config_of_run(config, RunFolder(path=out) if resume and out is not None else None, allow_plugins)
        prepared = prepare(config, objects)
        if observers and prepared.workers > 1:
            raise InputError(f"observers see messages of this process only: set workers=1, not {prepared.workers}")
        path, is_new = checked_place(prepared, out, resume)
        if is_new:
            try_out(prepared)
        executor = open_executor(
            prepared.worker,
            prepared.workers,
            observers,
            executor=config.executor,
            participants=participants(config),
        )
        try:
            if is_new:  # workers that cannot start leave no folder behind
                executor.start()
            folder = new_folder(prepared, path if out is not None else fresh_path(prepared.config), is_new)
            with locked(folder):
                state, records = begun(folder, prepared, observers, listener, resume=resume)
                transcripts = TranscriptWriter(prepared.worker, prepared.config, prepared.method, folder.transcript)
                with disk_refusals_named(folder):
                    records, summary = run_rounds(
                        folder, prepared, state, records, executor, listener, transcripts=transcripts
                    )
        finally:
            executor.close()
        listener.run_finished(folder.path, summary)
    return Run(folder=folder, config=prepared.config, records=records, summary=summary, given_model=objects.model)


def _config_of_run(config: TrainConfig | None, resumed: RunFolder | None, allow_plugins: Iterable[str]) -> TrainConfig:
    """Return the configuration to train by: the given one, that of the run to be resumed, or the default.

    Args:
        config: that was given.
        resumed: the run to be resumed, if it is there; it says which tiers are allowed.
        allow_plugins: modules that it may name.
    """
    if config is None:
        config = read_run_config(resumed) if resumed is not None and resumed.config.is_file() else TrainConfig()
    config = config.allowing(allow_plugins)
    return config if resumed is None else with_tiers_of_run(config, resumed)


def begun(
    folder: RunFolder,
    prepared: Prepared,
    observers: Sequence[MessageObserver],
    listener: Callback,
    *,
    resume: bool,
) -> tuple[FederatedState, list[Record]]:
    """Say that a run begins or goes on, and return the state and the records of rounds that it goes on from."""
    state, records = where_to_start(folder, prepared, listener) if resume else (prepared.initial, [])
    describe = partial(opening_lines, prepared.config, folder.path, prepared.settings)
    listener.run_started(folder.path, prepared.config.rounds, records, describe)
    for line in prepared.notes:
        listener.note(line)
    if state.round == 0:
        for message, observer in itertools.product(prepared.statistics, observers):
            observer(message)
    return state, records
