"""Compare: finished runs on the same footing, or clearly set apart.

A run folder may be anybody's: it is read as data only, and its sizes and values are checked first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from dtfl_private.errors import InputError
from dtfl_private.experiments.comparing.baseline import find_baseline, require_baseline
from dtfl_private.experiments.comparing.compared_runs import LoadedRun, TunedRun, load_run
from dtfl_private.experiments.comparing.equal_accuracy import leakage_notes
from dtfl_private.experiments.comparing.equal_terms import (
    footing_of,
    require_equal_data,
    require_one_footing,
    setting_names,
    with_tuning,
)
from dtfl_private.experiments.comparing.run_groups import grouped_runs
from dtfl_private.experiments.run import Run
from dtfl_private.printable import printable
from dtfl_private.report.comparison.groups import Comparison, ComparisonSetting
from dtfl_private.report.words.numbers import number_of


def compare(
    runs: Sequence[Run | Path | str | TunedRun],
    *,
    target: float | None = None,
    baseline: str | None = None,
    apart: bool = False,
) -> Comparison:
    """Compare runs: groups that differ by their seeds alone, with means and 95 % intervals.

    Args:
        runs: run folders, what `train` returned, or run folders whose settings were chosen by trials: these are set
            apart from others, and named by what they would have been without the choice.
        target: test accuracy to reach, 0..1; by default the one that the runs were configured with.
        baseline: the group that speed-ups refer to, by its name in the table or its method; by default FedAvg, if it
            is there.
        apart: set runs of different data, environments or targets apart, instead of refusing them.

    Raises:
        InputError: a folder is no intact run with a finished round, two runs are one and the same sample, runs are on
            different footings, or the baseline is not there.
    """
    if not runs:
        raise InputError("no runs to compare: give one run folder at least")
    if target is not None and not 0 < target <= 1:
        raise InputError(f"target {target} is refused: a test accuracy is above 0 and at most 1")
    loaded = [_loaded(run, target) for run in runs]
    footings = with_tuning(loaded, [footing_of(run.config, target) for run in loaded])
    if not apart:
        require_one_footing(loaded, footings)
    about, names = _about(loaded), setting_names(footings)
    parts = {name: [run for run, own in zip(loaded, names, strict=True) if own == name] for name in names}
    settings = [_setting(name, about, members, baseline) for name, members in parts.items()]
    require_baseline(settings, baseline)
    return Comparison(settings=settings, notes=list(_notes(loaded, settings)))


def _loaded(run: Run | Path | str | TunedRun, target: float | None) -> LoadedRun:
    match run:
        case TunedRun():
            return replace(load_run(run.path, target), tuned=run)
        case Run():
            return load_run(run.folder.path, target)
        case _:
            return load_run(Path(run), target)


def _about(loaded: Sequence[LoadedRun]) -> str:
    """Return network, data and clients of all runs, as far as they are the same."""
    sayings = (
        lambda config: config.model,
        lambda config: f"{config.dataset} ({config.max_train_images} training images)",
        lambda config: f"{config.clients} clients",
        lambda config: config.partition,
        lambda config: f"links in {config.link_unit}",
    )
    said = [{saying(run.config) for run in loaded} for saying in sayings]
    judged = {run.config.judged_on for run in loaded}
    validated = ["judged on validation images"] if judged == {"validation"} else []
    return printable(", ".join([*(texts.pop() for texts in said if len(texts) == 1), *validated]))


def _setting(name: str, about: str, members: Sequence[LoadedRun], baseline: str | None) -> ComparisonSetting:
    require_equal_data(members)
    groups = grouped_runs(members)
    return ComparisonSetting(
        name=name,
        about=about,
        target=members[0].figures.target,
        groups=groups,
        baseline=find_baseline(groups, baseline),
    )


def _notes(loaded: Sequence[LoadedRun], settings: Sequence[ComparisonSetting]) -> Iterator[str]:
    for run in loaded:
        if not run.figures.finished:
            done = f"{len(run.figures.course.accuracy_R)} of {number_of(run.config.rounds, 'round')}"
            yield f"run '{run.figures.run}' has not ended ({done}): its final accuracy is that of the last of these"
        if run.remark is not None:
            yield run.remark
    for setting in settings:
        where = f" ({setting.name})" if setting.name else ""
        if len({frozenset(run.seed for run in group.runs) for group in setting.groups}) > 1:
            yield f"the groups{where} have different seeds"
        if len({group.settings["rounds"] for group in setting.groups}) > 1:
            yield f"the groups{where} were given different numbers of rounds: their final accuracies are not comparable"
        yield from leakage_notes(setting.groups)
    codes = [run.code for run in loaded if run.code is not None]
    for what, place in (("commits", 0), ("versions of torch", 1)):
        if len(different := {code[place] for code in codes}) > 1:
            yield f"the runs are of {len(different)} {what} (see their environment.json), which can change figures, too"
    if any(run.config.stop_at_target for run in loaded):
        yield "runs stopped at their target: their final accuracy is the one that reached it"
    if any(run.config.patience is not None for run in loaded):
        yield (
            "runs with patience stop some rounds after their best on validation images: their final accuracy is that "
            "of the last round, not of the selected one (selected_accuracy in their summary.json)"
        )
