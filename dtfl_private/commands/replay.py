"""A finished run opened again: what it was set up from, and its last round, ready to be played once more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from dtfl_private.commands.train import Prepared, Run, prepare, read_run_config
from dtfl_private.contracts import Scheduler
from dtfl_private.data.dataset import Dataset
from dtfl_private.defense import Defense
from dtfl_private.errors import InputError, RunError
from dtfl_private.federated.budget import spent_clients
from dtfl_private.federated.recording import Recorder
from dtfl_private.federated.round import FederatedState
from dtfl_private.federated.round import tasks_of as round_tasks
from dtfl_private.federated.schedule import RoundPlan, schedule_round
from dtfl_private.federated.worker import ClientTask
from dtfl_private.record import Record, RunFolder, read_records, recorded_data
from dtfl_private.runtime.checkpoint import load_round


@dataclass(frozen=True, kw_only=True)
class OpenedRun:
    """A finished run with the states around its last round.

    Attributes:
        folder: where it lies.
        prepared: its data, network, defenses and settings, as `train` had them.
        before: the state that the last round began with.
        after: the state that it ended with.
        plan: of the last round.
        records: of all rounds.
        objects: what `train` was given as objects, by argument: "model", "scheduler", "defenses".
    """

    folder: RunFolder
    prepared: Prepared
    before: FederatedState
    after: FederatedState
    plan: RoundPlan
    records: Sequence[Record]
    objects: Mapping[str, Any]

    @property
    def tasks(self) -> Sequence[ClientTask]:
        """The clients' parts of the last round."""
        return round_tasks(self.plan, self.before)

    def recorder(self) -> Recorder:
        """Return what plays clients' rounds once more."""
        return Recorder(self.prepared.worker)


def open_run(
    run: Run | RunFolder | Path | str,
    *,
    data_dir: Path | str | None = None,
    dataset: Dataset | None = None,
    model: nn.Module | None = None,
    scheduler: Scheduler | None = None,
    defenses: Sequence[Defense] | None = None,
) -> OpenedRun:
    """Open a run, and check that its last round can be played again exactly as it was.

    Args:
        run: a run, or where its folder is.
        data_dir: where the run's data are now, if they have moved.
        dataset: what `train` was given as an object; likewise ``model``, ``scheduler`` and ``defenses``.
        model: see there. Its weights do not matter.
        scheduler: see there.
        defenses: see there.

    Raises:
        InputError: no run folder, or one that belongs to other data or objects.
        RunError: the run has no finished round, or is damaged.
    """
    folder = run.folder if isinstance(run, Run) else run if isinstance(run, RunFolder) else RunFolder(path=Path(run))
    config = read_run_config(folder)
    if data_dir is not None:
        config = config.model_copy(update={"data_dir": Path(data_dir)})
    prepared = prepare(
        config.model_copy(update={"workers": 1}),
        dataset=dataset,
        model=model,
        scheduler=scheduler,
        defenses=defenses,
    )
    if recorded_data(folder) != prepared.data_sha256:
        raise InputError(f"run folder '{folder.path}' was trained on other data than are there now: see data_dir")
    records, _ = read_records(folder)
    if not records:
        raise InputError(f"'{folder.path}' has no finished round yet: train it first (--resume --out {folder.path})")
    last = len(records)
    schedule = prepared.settings.schedule
    before = prepared.initial
    if last > 1:
        before = load_round(folder.checkpoint, last - 1, prepared.initial, schedule)
    after = load_round(folder.checkpoint, last, prepared.initial, schedule)
    retired = spent_clients(before.ledgers, prepared.settings.budget)
    _, plan = schedule_round(before.schedule, schedule, last, retired)
    _require_same_round(plan, records[-1], folder)
    return OpenedRun(
        folder=folder,
        prepared=prepared,
        before=before,
        after=after,
        plan=plan,
        records=records,
        objects={"model": model, "scheduler": scheduler, "defenses": defenses},
    )


def _require_same_round(plan: RoundPlan, record: Record, folder: RunFolder) -> None:
    tiers = {str(client): tier for client, tier in zip(plan.clients_P.tolist(), plan.tiers_P.tolist(), strict=True)}
    if tiers != record["tiers"]:
        raise RunError(
            f"the last round of '{folder.path}' cannot be played again: its schedule differs from the recorded one; "
            "was the run made by another version?"
        )
