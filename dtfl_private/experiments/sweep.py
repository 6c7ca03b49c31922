"""Sweep: all runs of a preset, several at once in processes of their own, resumable at any moment.

The folder of a sweep holds, for each run, what was asked for (NAME.toml) and the run folder (NAME/).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dtfl_private.data.dataset import load_dataset
from dtfl_private.errors import InputError, RunError
from dtfl_private.experiments.comparing.compare import compare
from dtfl_private.experiments.config.differences import differences
from dtfl_private.experiments.config.toml_files import read_toml, to_toml
from dtfl_private.experiments.config.train_config import TrainConfig, make_config
from dtfl_private.experiments.preset import PlannedRun, Preset, baseline_names
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.run_folder.summary import has_ended
from dtfl_private.experiments.train import train
from dtfl_private.files.writing import output_path, write_atomic
from dtfl_private.report.comparison.groups import Comparison
from dtfl_private.report.words.numbers import number_of
from dtfl_private.runtime.device import choose_device, choose_workers
from dtfl_private.runtime.jobs import Ended, Report, Reported, run_jobs
from dtfl_private.runtime.progress import AsOneJob, Progress, Relay, relayed


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep that is done.

    Attributes:
        folder: where its runs are.
        runs: the folders of all runs that ended.
        failed: why others did not, by name.
        comparison: the runs that ended, compared; set apart where they are on different footings; None if there
            are none.
    """

    folder: Path
    runs: Sequence[Path]
    failed: Mapping[str, str]
    comparison: Comparison | None

    def require_whole(self) -> None:
        """Raise `RunError` if a run failed."""
        if self.failed:
            first, reason = next(iter(self.failed.items()))
            raise RunError(
                f"{len(self.failed)} of {number_of(len(self.failed) + len(self.runs), 'run')} failed; "
                f"'{first}': {reason}; "
                "the same command goes on with them"
            )


def sweep(
    preset: Preset,
    out: Path | str,
    *,
    parallel: int | None = None,
    listener: Progress | None = None,
) -> Sweep:
    """Train all runs of a preset that have not ended yet, and compare them.

    Args:
        preset: what to run.
        out: folder of the sweep; what is there already is gone on with.
        parallel: runs at once, each in a one-thread process; 1 trains in this process. By default one per core, and
            one in all on a GPU.
        listener: hears how the sweep proceeds.

    Raises:
        InputError: the folder holds runs of the same names with other configurations, or this machine lacks the device
            or the data; nothing was written.
    """
    listener = listener or Progress()
    folder = output_path(out)
    for run in preset.runs:
        _require_same_request(folder, run)
    _require_device_and_data(preset.runs)
    _write_requests(folder, preset.runs)
    ended = [run.name for run in preset.runs if has_ended(_run_folder(folder, run.name))]
    waiting = [run for run in preset.runs if run.name not in ended]
    _announce(preset.runs, ended, listener)
    failed = _train_all(folder, waiting, parallel, listener) if waiting else {}
    runs = [folder / run.name for run in preset.runs if run.name not in failed]
    comparison = compare(runs, baseline=_baseline(preset, failed), apart=True) if runs else None
    return Sweep(folder=folder, runs=runs, failed=failed, comparison=comparison)


def _announce(runs: Sequence[PlannedRun], ended: Sequence[str], progress: Progress) -> None:
    """Tell of all runs, and of those that had ended before."""
    if ended:
        progress.note(f"{len(ended)} of {number_of(len(runs), 'run')} had ended before and are not repeated")
    progress.jobs_announced([run.name for run in runs], [run.config.rounds for run in runs])
    for name in ended:
        progress.job_finished(name, cached=True)


def _run_folder(folder: Path, name: str) -> RunFolder:
    return RunFolder(path=folder / name)


def _request(folder: Path, name: str) -> Path:
    return folder / f"{name}.toml"


def _require_same_request(folder: Path, run: PlannedRun) -> None:
    path = _request(folder, run.name)
    if not path.exists():
        return
    changed = differences(run.config, make_config(read_toml(path), str(path)))
    if changed:
        raise InputError(
            f"sweep folder '{folder}' has a run '{run.name}' of another configuration ({'; '.join(changed)}): "
            "choose another --out"
        )


def _require_device_and_data(runs: Sequence[PlannedRun]) -> None:
    for device in {run.config.device for run in runs}:
        choose_device(device)
    configs = {(run.config.dataset, run.config.data_dir, run.config.download): run.config for run in runs}
    for (name, data_dir, download), config in configs.items():
        load_dataset(name, data_dir=data_dir, download=download, allowed=config.allowed)


def _write_requests(folder: Path, runs: Sequence[PlannedRun]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for run in runs:
            write_atomic(_request(folder, run.name), to_toml(run.config).encode())
    except (OSError, ValueError) as error:
        raise InputError(f"sweep folder '{folder}' cannot be written: {error}") from None


def _train_all(folder: Path, runs: Sequence[PlannedRun], parallel: int | None, listener: Progress) -> dict[str, str]:
    """Train the runs and return why some failed, by name."""
    failed: dict[str, str] = {}

    def on_event(event: Reported | Ended) -> None:
        name = runs[event.job].name
        if isinstance(event, Reported):
            relayed(event.what, listener)
            return
        if event.error is not None:
            failed[name] = event.error
        listener.job_finished(name, error=event.error)

    processes = parallel or choose_workers(None, choose_device(runs[0].config.device), len(runs))
    jobs = [(run.name, run.config, str(folder / run.name)) for run in runs]
    run_jobs(_train_one, jobs, processes, on_event)
    return failed


def _train_one(job: tuple[str, TrainConfig, str], report: Report) -> None:
    """Train one run, or go on with it; this is what a process of the sweep does."""
    name, config, out = job
    train(config, out=out, resume=True, listener=AsOneJob(Relay(report), name))


def _baseline(preset: Preset, failed: Mapping[str, str]) -> str | None:
    """Return the preset's baseline, unless all its runs failed."""
    names = set().union(*(baseline_names(run.config) for run in preset.runs if run.name not in failed))
    return preset.baseline if preset.baseline in names else None
