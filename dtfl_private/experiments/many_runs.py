"""Many runs in one folder: for each what was asked for (NAME.toml) and the run folder (NAME/).

They train several at once, in processes of their own; what has ended is not repeated, and the others are resumed.
"""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from dtfl_private.data.dataset import load_dataset
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.differences import differences
from dtfl_private.experiments.config.toml_files import read_toml, to_toml
from dtfl_private.experiments.config.train_config import TrainConfig, make_config
from dtfl_private.experiments.planned_run import PlannedRun
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.run_folder.summary import has_ended
from dtfl_private.experiments.run_images import with_images_of_run
from dtfl_private.experiments.train import train
from dtfl_private.files.writing import write_atomic
from dtfl_private.report.words.numbers import number_of
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.device import choose_device, choose_workers
from dtfl_private.runtime.executor_choice import RayChoice
from dtfl_private.runtime.jobs import Ended, OnCluster, Report, Reported, run_jobs
from dtfl_private.runtime.progress import AsOneJob, Relay, relayed

Job = tuple[str, TrainConfig, str]
"""A run's name, its configuration, and its folder."""

Work = Callable[[Job, Report], None]
"""What a process does with a run: a function of a module, so that other processes find it."""


def require_same_requests(folder: Path, runs: Sequence[PlannedRun]) -> None:
    """Raise `InputError` if the folder holds runs of the same names with other configurations."""
    for run in runs:
        path = _request(folder, run.name)
        if not path.exists():
            continue
        changed = differences(run.config, make_config(read_toml(path), str(path)))
        if changed:
            raise InputError(
                f"sweep folder '{folder}' has a run '{run.name}' of another configuration ({'; '.join(changed)}): "
                "choose another --out"
            )


def require_device_and_data(runs: Sequence[PlannedRun]) -> None:
    """Raise `InputError` if this machine lacks the runs' device or data."""
    for device in {run.config.device for run in runs}:
        choose_device(device)
    configs = {(one.config.dataset, one.config.data_dir, one.config.download): one.config for one in runs}
    for place, config in configs.items():
        dataset = load_dataset(
            config.dataset, data_dir=config.data_dir, download=config.download, allowed=config.allowed
        )
        own = [run.config for run in runs if (run.config.dataset, run.config.data_dir, run.config.download) == place]
        of_images = {(one.max_train_images, one.validation): one for one in own if one.validation}
        for one in of_images.values():
            with_images_of_run(one, dataset)


def train_missing(
    folder: Path,
    runs: Sequence[PlannedRun],
    parallel: int | None,
    listener: Callback,
    *,
    ended: Callable[[Path, str], bool] | None = None,
    work: Work | None = None,
    cluster: RayChoice | None = None,
) -> dict[str, str]:
    """Train all runs that have not ended yet, and return why some failed, by name.

    Args:
        folder: that holds them.
        runs: to make.
        parallel: how many at once; see `dtfl_private.experiments.sweep.sweep`.
        listener: hears how they proceed.
        ended: whether a run, by the folder and its name, need not be trained; by default what its summary says.
        work: what trains one; by default `train_one`.
        cluster: trains them in place of processes of this machine.

    Raises:
        InputError: the folder cannot be written.
    """
    _write_requests(folder, runs)
    over = [run.name for run in runs if (ended or run_has_ended)(folder, run.name)]
    _announce(runs, over, listener)
    waiting = [run for run in runs if run.name not in over]
    return _train_all(folder, waiting, parallel, listener, work or train_one, cluster) if waiting else {}


def run_has_ended(folder: Path, name: str) -> bool:
    """Whether a run has ended as configured."""
    return has_ended(RunFolder(path=folder / name))


def train_one(job: Job, report: Report) -> None:
    """Train one run, or go on with it; this is what a process of a sweep does."""
    name, config, out = job
    train(config, out=out, resume=True, callbacks=[AsOneJob(Relay(report), name)])


def _request(folder: Path, name: str) -> Path:
    return folder / f"{name}.toml"


def _write_requests(folder: Path, runs: Sequence[PlannedRun]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for run in runs:
            write_atomic(_request(folder, run.name), to_toml(run.config).encode())
    except (OSError, ValueError) as error:
        raise InputError(f"sweep folder '{folder}' cannot be written: {error}") from None


def _announce(runs: Sequence[PlannedRun], ended: Collection[str], progress: Callback) -> None:
    """Tell of all runs, and of those that had ended before."""
    if ended:
        progress.note(f"{len(ended)} of {number_of(len(runs), 'run')} had ended before and are not repeated")
    progress.jobs_announced([run.name for run in runs], [run.config.rounds for run in runs])
    for name in ended:
        progress.job_finished(name, cached=True)


def _train_all(
    folder: Path,
    runs: Sequence[PlannedRun],
    parallel: int | None,
    listener: Callback,
    work: Work,
    cluster: RayChoice | None,
) -> dict[str, str]:
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
    run_jobs(work, jobs, processes, on_event, OnCluster.of(cluster, folder))
    return failed
