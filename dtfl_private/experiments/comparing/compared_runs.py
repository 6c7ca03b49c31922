"""Runs that are to be compared: read from their folders as data only, and checked."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dtfl_private.errors import DtflError, InputError
from dtfl_private.experiments.comparing.audited_leakage import audited_leakage
from dtfl_private.experiments.config.toml_files import read_run_config
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.run_folder.provenance import recorded_code, recorded_data
from dtfl_private.experiments.run_folder.rounds_file import read_records
from dtfl_private.experiments.run_folder.summary import has_ended
from dtfl_private.report.comparison.runs import Course, RunFigures
from dtfl_private.report.comparison.tuned_settings import TunedSettings
from dtfl_private.training.round_record import Record

# No count of bytes or operations in a run comes near it.
LARGEST_COUNT = 2**80


@dataclass(frozen=True, kw_only=True)
class TunedRun:
    """A run whose settings were chosen by trials.

    path: its folder. untuned: what it would have been without the choice. settings: what was chosen from what.
    """

    path: Path
    untuned: TrainConfig
    settings: TunedSettings


@dataclass(frozen=True, kw_only=True)
class LoadedRun:
    """A run folder that was read and checked.

    remark: why its audit is not used, if there is one. code: commit and version of torch that made it, if known.
    tuned: how its settings were chosen, if they were.
    """

    config: TrainConfig
    figures: RunFigures
    data_sha256: str
    remark: str | None = None
    code: tuple[str, str] | None = None
    tuned: TunedRun | None = None

    @property
    def grouped_by(self) -> TrainConfig:
        """The configuration that says which runs are samples of the same: without chosen settings."""
        return self.config if self.tuned is None else self.tuned.untuned


def load_run(path: Path, target: float | None) -> LoadedRun:
    """Read and check a run folder.

    Args:
        path: of the folder.
        target: test accuracy to reach; None for the one that the run was configured with.

    Raises:
        InputError: it is no intact run with a finished round.
    """
    folder = RunFolder(path=path)
    for file in (folder.config, folder.environment, folder.rounds):
        if not file.exists():
            raise InputError(f"'{path}' is no run with a finished round: it has no {file.name}")
    try:
        config = read_run_config(folder)
        records, _ = read_records(folder)
        data_sha256, code = recorded_data(folder), recorded_code(folder)
    except DtflError as error:
        raise InputError(f"run '{path}': {error}") from None
    if not records:
        raise InputError(f"'{path}' is no run with a finished round: its {folder.rounds.name} is empty")
    _require_sane(records, folder)
    found = audited_leakage(folder, config, records)
    plain = _figures(folder, config, records, target or config.target_accuracy)
    figures = replace(plain, leakage=found.leakage, exposure=found.exposure)
    return LoadedRun(config=config, figures=figures, data_sha256=data_sha256, remark=found.remark, code=code)


def _require_sane(records: Sequence[Record], folder: RunFolder) -> None:
    """Refuse what no run leaves: accuracies beyond 1, time that runs back, counts below zero or beyond all measure."""
    before_s = 0.0
    for record in records:
        counts = (*record["bytes"].values(), *record["macs"].values())
        sane = (
            0 <= record["test_accuracy"] <= 1
            and record["virtual_time_s"] >= before_s
            and record["round_time_s"] >= 0
            and all(0 <= seconds <= LARGEST_COUNT for seconds in record["client_time_s"].values())
            and all(0 <= count <= LARGEST_COUNT for count in counts)
        )
        if not sane:
            raise InputError(f"{folder.rounds} is damaged in line {record['round']}: its figures are impossible")
        before_s = record["virtual_time_s"]


def _figures(folder: RunFolder, config: TrainConfig, records: Sequence[Record], target: float | None) -> RunFigures:
    idle_s, busy_s = _idle_and_busy(records)
    return RunFigures(
        run=str(folder.path),
        seed=config.seed,
        finished=has_ended(folder),
        target=target,
        course=Course(
            accuracy_R=np.array([record["test_accuracy"] for record in records]),
            expense_R={
                "time_s": np.array([record["virtual_time_s"] for record in records]),
                "rounds": np.array([float(record["round"]) for record in records]),
                "bytes": np.cumsum([float(sum(record["bytes"].values())) for record in records]),
                "macs": np.cumsum([float(sum(record["macs"].values())) for record in records]),
            },
        ),
        idle_s=idle_s,
        busy_s=busy_s,
        regret=_regret(records),
    )


def _idle_and_busy(records: Sequence[Record]) -> tuple[dict[str, float], dict[str, float]]:
    """Return each client's idle and own seconds; a client that dropped out waits for nobody."""
    idle_s: dict[str, float] = defaultdict(float)
    busy_s: dict[str, float] = defaultdict(float)
    for record in records:
        dropped = {str(client) for client in record["dropped"]}
        for client, own_s in record["client_time_s"].items():
            if client not in dropped:
                idle_s[client] += max(0.0, record["round_time_s"] - own_s)
                busy_s[client] += own_s
    return dict(idle_s), dict(busy_s)


def _regret(records: Sequence[Record]) -> float | None:
    """Return by what share all rounds together lasted longer than the oracle's, if it is known of every round."""
    oracle_s = [record.get("oracle_time_s") for record in records]
    known_s = [seconds for seconds in oracle_s if seconds is not None]
    if len(known_s) < len(records) or sum(known_s) <= 0:
        return None
    return sum(record["round_time_s"] for record in records) / sum(known_s) - 1
