"""How a run goes on: with the tiers that it began with, after its last intact round."""

from dtfl_private.errors import RunError
from dtfl_private.experiments.config.toml_files import read_run_config
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.run_folder.checkpoint import load_checkpoint
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.run_folder.rounds_file import keep_records, read_records
from dtfl_private.experiments.setup.prepare import Prepared
from dtfl_private.experiments.setup.tiers_allowed_by_audit import ON_RECORD
from dtfl_private.runtime.callback import Callback
from dtfl_private.training.round_record import Record
from dtfl_private.training.state import FederatedState
from dtfl_private.verdicts.leakage_budget import LeakageBudget
from dtfl_private.verdicts.leakage_source import LeakageSource


def with_tiers_of_run(config: TrainConfig, folder: RunFolder) -> TrainConfig:
    """Return the configuration with the tiers and leakages that the run was begun with, if its audits are the same.

    An audit may have changed or gone since then; a resumed run goes on as it began.
    """
    asks = [key for key, record in ON_RECORD.items() if getattr(config, key) and getattr(config, record) is None]
    if not asks or not folder.config.is_file():
        return config
    begun = read_run_config(folder)
    same = [key for key in asks if getattr(begun, key) == _absolute(key, getattr(config, key))]
    return config.model_copy(update={ON_RECORD[key]: getattr(begun, ON_RECORD[key]) for key in same})


def _absolute(key: str, text: str) -> str:
    read = LeakageBudget.parse if key == "leakage_budget" else LeakageSource.parse
    return str(read(text).absolute())


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
