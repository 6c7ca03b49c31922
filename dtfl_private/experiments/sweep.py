"""Sweep: all runs of a preset, several at once in processes of their own, resumable at any moment.

A preset with a tuning stage has it first; its trials are in the folder ``tuning`` below that of the sweep, and what
they chose in ``tuning.json``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dtfl_private.errors import InputError, RunError
from dtfl_private.experiments.comparing.compare import compare
from dtfl_private.experiments.comparing.compared_runs import TunedRun
from dtfl_private.experiments.many_runs import require_device_and_data, require_same_requests, train_missing
from dtfl_private.experiments.planned_run import PlannedRun
from dtfl_private.experiments.preset import Preset, baseline_names
from dtfl_private.experiments.tuning.stage import TRIALS, tune
from dtfl_private.files.writing import output_path
from dtfl_private.report.comparison.groups import Comparison
from dtfl_private.report.comparison.tuned_settings import TunedSettings
from dtfl_private.report.notebook.comparison import sweep_html, sweep_text
from dtfl_private.report.words.numbers import number_of
from dtfl_private.runtime.callback import Callback, told
from dtfl_private.runtime.executor_choice import LOCAL, RayChoice, parse_executor


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep that is done.

    Attributes:
        folder: where its runs are.
        runs: the folders of all runs that ended, but those of trials.
        failed: why others did not, by name.
        comparison: the runs that ended, compared; set apart where they are on different footings; None if there
            are none.
    """

    folder: Path
    runs: Sequence[Path]
    failed: Mapping[str, str]
    comparison: Comparison | None

    def __repr__(self) -> str:
        return sweep_text(self.folder, self.runs, self.failed, self.comparison)

    def _repr_html_(self) -> str:
        return sweep_html(self.folder, self.runs, self.failed, self.comparison)

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
    executor: str = LOCAL,
    callbacks: Sequence[Callback] = (),
) -> Sweep:
    """Train all runs of a preset that have not ended yet, and compare them.

    Args:
        preset: what to run.
        out: folder of the sweep; what is there already is gone on with.
        parallel: runs at once, each in a one-thread process; 1 trains in this process. By default one per core, and
            one in all on a GPU.
        executor: who trains: ``local`` (this machine), or ``ray[:address=ADDRESS,gpus=SHARE,actors=N]``, a cluster
            whose nodes all see the folder.
        callbacks: hear how the sweep proceeds.

    Raises:
        InputError: the folder holds runs of the same names with other configurations, or this machine lacks the device
            or the data; nothing was written.
        RunError: a trial of the tuning stage failed.
    """
    cluster = parse_executor(executor)
    if cluster is not None and parallel is not None:
        raise InputError(f"parallel {parallel} is of this machine: with executor {executor} say ray:actors={parallel}")
    with told(callbacks) as listener:
        return _swept(preset, output_path(out), parallel, listener, cluster)


def _swept(preset: Preset, folder: Path, parallel: int | None, listener: Callback, cluster: RayChoice | None) -> Sweep:
    """Train and compare all runs of a preset, as `sweep` does."""
    trials = [] if preset.tuning is None else preset.tuning.runs
    require_same_requests(folder, preset.runs)
    require_same_requests(folder / TRIALS, trials)
    require_device_and_data([*preset.runs, *trials])
    choices = {} if preset.tuning is None else tune(preset.tuning, folder, parallel, listener, cluster)
    untuned, tuned = _final_runs(preset, choices)
    runs = list({run.name: run for run in (*untuned, *(made.run for made in tuned))}.values())
    require_same_requests(folder, runs)
    failed = train_missing(folder, runs, parallel, listener, cluster=cluster)
    compared: list[Path | TunedRun] = [folder / run.name for run in untuned if run.name not in failed]
    compared += [made.compared(folder) for made in tuned if made.run.name not in failed]
    comparison = compare(compared, baseline=_baseline(preset, failed), apart=True) if compared else None
    ended = [folder / run.name for run in runs if run.name not in failed]
    return Sweep(folder=folder, runs=ended, failed=failed, comparison=comparison)


@dataclass(frozen=True, kw_only=True)
class _Tuned:
    """A run with chosen settings, and the run of the preset that it is instead of; the same if these were chosen."""

    run: PlannedRun
    untuned: PlannedRun
    settings: TunedSettings

    def compared(self, folder: Path) -> TunedRun:
        return TunedRun(path=folder / self.run.name, untuned=self.untuned.config, settings=self.settings)


def _final_runs(preset: Preset, choices: Mapping[str, TunedSettings]) -> tuple[Sequence[PlannedRun], Sequence[_Tuned]]:
    """Return the runs with the preset's own settings and those with chosen ones, in the preset's order."""
    if preset.tuning is None:
        return preset.runs, []
    tuned = [
        _Tuned(run=run, untuned=untuned, settings=choices[combination.name])
        for combination in preset.tuning.combinations
        for untuned, run in zip(combination.untuned, combination.tuned[choices[combination.name].chosen], strict=True)
    ]
    return preset.runs if preset.tuning.untuned else [], tuned


def _baseline(preset: Preset, failed: Mapping[str, str]) -> str | None:
    """Return the preset's baseline, unless all its runs failed."""
    names = set().union(*(baseline_names(run.config) for run in preset.runs if run.name not in failed))
    return preset.baseline if preset.baseline in names else None
