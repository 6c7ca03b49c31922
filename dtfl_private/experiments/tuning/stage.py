"""The tuning stage: trains all trials, and chooses among them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dtfl_private.errors import NonFiniteLossError, RunError
from dtfl_private.experiments.comparing.compared_runs import load_run
from dtfl_private.experiments.many_runs import Job, run_has_ended, train_missing, train_one
from dtfl_private.experiments.tuning.choice import chosen_place
from dtfl_private.experiments.tuning.plan import Trial, Tuning
from dtfl_private.experiments.tuning.tuning_file import read_choices, write_choices
from dtfl_private.files.writing import write_atomic
from dtfl_private.report.comparison.tuned_settings import TrialOutcome, TunedSettings
from dtfl_private.report.words.numbers import number_of
from dtfl_private.runtime.callback import Callback
from dtfl_private.runtime.executor_choice import RayChoice
from dtfl_private.runtime.jobs import Report
from dtfl_private.runtime.progress import Relay

TRIALS = "tuning"
"""The folder of the trials below that of the sweep."""

CHOICES = "tuning.json"


def tune(
    tuning: Tuning, folder: Path, parallel: int | None, listener: Callback, cluster: RayChoice | None = None
) -> Mapping[str, TunedSettings]:
    """Return what is chosen for each combination, after training the trials that have not ended yet.

    Args:
        tuning: what to try.
        folder: of the sweep; if it says what was chosen, no trial is trained.
        parallel: trials at once.
        listener: hears how they proceed.
        cluster: trains them in place of processes of this machine.

    Raises:
        InputError: the choices that are there are damaged, or of other trials.
        RunError: a trial failed for another reason than that it diverged; the same command goes on.
    """
    path = folder / CHOICES
    if path.exists():
        choices = read_choices(path, tuning)
        listener.note(f"settings are those of {path}, which {number_of(len(tuning.runs), 'trial run')} chose")
        return choices
    listener.note(f"tuning: {number_of(len(tuning.runs), 'trial run')}, judged on validation images")
    failed = train_missing(
        folder / TRIALS, tuning.runs, parallel, listener, ended=_trial_has_ended, work=_try_one, cluster=cluster
    )
    if failed:
        first, reason = next(iter(failed.items()))
        raise RunError(
            f"{len(failed)} of {number_of(len(tuning.runs), 'trial run')} failed; '{first}': {reason}; "
            "the same command goes on with them"
        )
    choices = {}
    for combination in tuning.combinations:
        outcomes = [_outcome(folder / TRIALS, trial) for trial in combination.trials]
        place = chosen_place(outcomes, tuning.metric, combination.name)
        choices[combination.name] = TunedSettings(trials=outcomes, chosen=place)
    write_choices(path, tuning, choices)
    return choices


def _divergence(folder: Path, name: str) -> Path:
    """Return the file that says that a trial diverged."""
    return folder / f"{name}.diverged"


def _trial_has_ended(folder: Path, name: str) -> bool:
    return _divergence(folder, name).exists() or run_has_ended(folder, name)


def _try_one(job: Job, report: Report) -> None:
    """Train one trial; a loss that is no number is an outcome, as another trial may train well."""
    name, _, out = job
    try:
        train_one(job, report)
    except NonFiniteLossError as error:
        Relay(report).note(f"{name} diverged, and is not chosen: {error}")
        write_atomic(_divergence(Path(out).parent, name), f"{error}\n".encode())


def _outcome(folder: Path, trial: Trial) -> TrialOutcome:
    if any(_divergence(folder, run.name).exists() for run in trial.runs):
        return TrialOutcome(settings=trial.settings, accuracy=None, time_to_target_s=None)
    figures = [load_run(folder / run.name, None).figures for run in trial.runs]
    times_s = [one.course.to_target(one.target)["time_s"] for one in figures]
    reached_s = [time_s for time_s in times_s if time_s is not None]
    return TrialOutcome(
        settings=trial.settings,
        accuracy=float(np.mean([one.final_accuracy for one in figures])),
        time_to_target_s=float(np.mean(reached_s)) if len(reached_s) == len(times_s) else None,
    )
