"""How a run goes on: with the tiers that it began with, after its last intact round."""

from dtfl_private.errors import RunError
from dtfl_private.experiments.config.toml_files import read_run_config
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.run_folder.checkpoint import load_checkpoint
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.run_folder.rounds_file import keep_records, read_records
from dtfl_private.experiments.setup.prepare import Prepared
from dtfl_private.runtime.callback import Callback
from dtfl_private.training.round_record import Record
from dtfl_private.training.state import FederatedState
from dtfl_private.verdicts.leakage_budget import LeakageBudget


def with_tiers_of_run(config: TrainConfig, folder: RunFolder) -> TrainConfig:
    """Return the configuration with the tiers that the run was begun with, if its leakage budget is the same.

    The audit may have changed or gone since then; a resumed run goes on as it began.
    """
    if config.leakage_budget is None or config.allowed_tiers is not None or not folder.config.is_file():
        return config
    begun = read_run_config(folder)
    same = begun.leakage_budget == str(LeakageBudget.parse(config.leakage_budget).absolute())
    return config.model_copy(update={"allowed_tiers": begun.allowed_tiers}) if same else config


def where_to_start(folder: RunFolder, prepared: Prepared, listener: Callback) -> tuple[FederatedState, list[Record]]:
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
            f"{folder.rounds} ends with round {len(records)}, the checkpoint with round {state.round}: "
            "start again in a new --out folder"
        )
    if torn or len(records) > state.round:
        keep_records(folder, records[: state.round])
    return state, records[: state.round]
