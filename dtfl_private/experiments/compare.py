"""Compare: finished runs side by side, on the same footing or clearly set apart.

A run folder may be anybody's: it is read as data only, and its sizes and values are checked first.
"""

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dtfl_private.errors import DtflError, InputError, comparable, unknown_name
from dtfl_private.experiments.audited_leakage import audited_leakage
from dtfl_private.experiments.config import TrainConfig
from dtfl_private.experiments.config_files import read_run_config
from dtfl_private.experiments.field_kinds import NOTHING
from dtfl_private.experiments.provenance import recorded_code, recorded_data
from dtfl_private.experiments.rounds_file import read_records
from dtfl_private.experiments.run_folder import RunFolder
from dtfl_private.experiments.summary import has_ended
from dtfl_private.plugins.registry import explicit, installed
from dtfl_private.printable import printable
from dtfl_private.report.comparison.groups import Comparison, ComparisonSetting, Group
from dtfl_private.report.comparison.runs import Course, RunFigures
from dtfl_private.training.record import Record

if TYPE_CHECKING:
    from dtfl_private.experiments.train import Run

# What must be equal for figures to be comparable: network, data, environment, target.
FOOTING = (
    *("model", "dataset", "max_train_images", "augment", "partition", "clients", "fraction"),
    *("profiles", "link_unit", "cpu_gmacs", "drift_share", "drift_every", "noise"),
    *("dropout", "absent", "leave", "join", "server_workers", "server_cpus"),
    *("target_accuracy", "stop_at_target"),
)

# What changes no figure here, or by chance only.
RECORDING = ("record_rounds", "record_clients", "record_images")
FREE = ("data_dir", "download", "leakage_budget", "device", "memory_format", "workers", "seed", *RECORDING)

# Of no effect on methods without tiers: named only where runs of one method differ in them.
OF_TIERS = ("scheduler", "tiers", "allowed_tiers", "first_tier", "ema")

DEFAULT_BASELINE = "fedavg"

# No count of bytes or operations in a run comes near it.
LARGEST_COUNT = 2**80


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    """A run folder that was read and checked.

    remark: why its audit is not used, if there is one. code: commit and version of torch that made it, if known.
    """

    config: TrainConfig
    figures: RunFigures
    data_sha256: str
    remark: str | None = None
    code: tuple[str, str] | None = None


def compare(
    runs: "Sequence[Run | Path | str]",
    *,
    target: float | None = None,
    baseline: str | None = None,
    apart: bool = False,
) -> Comparison:
    """Put runs side by side: groups that differ by their seeds alone, with means and 95 % intervals.

    Args:
        runs: run folders, or what `train` returned.
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
    loaded = [_load(Path(run if isinstance(run, Path | str) else run.folder.path), target) for run in runs]
    footings = [_footing(run.config, target) for run in loaded]
    if not apart:
        _require_one_footing(loaded, footings)
    about, names = _about(loaded), _setting_names(footings)
    parts = {name: [run for run, own in zip(loaded, names, strict=True) if own == name] for name in names}
    settings = [_setting(name, about, members, baseline) for name, members in parts.items()]
    _require_baseline(settings, baseline)
    return Comparison(settings=settings, notes=list(_notes(loaded, settings)))


def _load(path: Path, target: float | None) -> _Loaded:
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
    leakage, remark = audited_leakage(folder, config, records)
    figures = replace(_figures(folder, config, records, target or config.target_accuracy), leakage=leakage)
    return _Loaded(config=config, figures=figures, data_sha256=data_sha256, remark=remark, code=code)


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
    """Return each client's idle and own seconds; a client that vanished waits for nobody."""
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


def _footing(config: TrainConfig, target: float | None) -> dict[str, Any]:
    """Return what must be equal; what has no effect in this run is left out."""
    values = config.model_dump(mode="json")
    footing = {key: values[key] for key in FOOTING}
    if config.drift_share == 0:
        del footing["drift_every"]
    if target is not None:  # it replaces the runs' own
        footing["target_accuracy"] = target
    return footing


def _require_one_footing(loaded: Sequence[_Loaded], footings: Sequence[Mapping[str, Any]]) -> None:
    first = footings[0]
    for run, other in zip(loaded, footings, strict=True):
        for key in FOOTING:
            if first.get(key) != other.get(key):
                raise InputError(
                    f"runs differ in {key}: {_shown(first.get(key))} in '{loaded[0].figures.run}', "
                    f"{_shown(other.get(key))} in '{run.figures.run}': compare like with like, or add --apart"
                )


def _setting_names(footings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return for each run what sets its footing apart from others."""
    varying = [key for key in FOOTING if any(footing.get(key) != footings[0].get(key) for footing in footings)]
    return [
        printable(", ".join(f"{_plain(key)} {_shown(footing.get(key))}" for key in varying)) for footing in footings
    ]


def _about(loaded: Sequence[_Loaded]) -> str:
    """Return network, data and clients of all runs, as far as they are the same."""
    sayings = (
        lambda config: config.model,
        lambda config: f"{config.dataset} ({config.max_train_images} training images)",
        lambda config: f"{config.clients} clients",
        lambda config: config.partition,
        lambda config: f"links in {config.link_unit}",
    )
    said = [{saying(run.config) for run in loaded} for saying in sayings]
    return printable(", ".join(texts.pop() for texts in said if len(texts) == 1))


def _setting(name: str, about: str, members: Sequence[_Loaded], baseline: str | None) -> ComparisonSetting:
    _require_equal_data(members)
    groups = _groups(members)
    return ComparisonSetting(
        name=name,
        about=about,
        target=members[0].figures.target,
        groups=groups,
        baseline=_baseline(groups, baseline),
    )


def _require_equal_data(members: Sequence[_Loaded]) -> None:
    """Refuse different data under one name; only runs of one seed draw the same images."""
    first: dict[int, _Loaded] = {}
    for run in members:
        other = first.setdefault(run.config.seed, run)
        if other.data_sha256 != run.data_sha256:
            raise InputError(
                f"runs '{other.figures.run}' and '{run.figures.run}' name the same data, but had different ones "
                "(data_sha256 in environment.json)"
            )


def _groups(members: Sequence[_Loaded]) -> list[Group]:
    """Return the runs grouped by all that differs but the seed, in the order of their first runs."""
    every = [_settings(run.config) for run in members]
    distinct: list[dict[str, Any]] = []
    for settings in every:
        if settings not in distinct:
            distinct.append(settings)
    groups = []
    for settings in distinct:
        runs = [run.figures for run, own in zip(members, every, strict=True) if own == settings]
        _require_different_seeds(runs)
        groups.append(Group(name=_group_name(settings, distinct), settings=settings, runs=runs))
    return groups


def _settings(config: TrainConfig) -> dict[str, Any]:
    values = config.model_dump(mode="json")
    return {key: value for key, value in values.items() if key not in (*FOOTING, *FREE)}


def _require_different_seeds(runs: Sequence[RunFigures]) -> None:
    for one, other in itertools.combinations(runs, 2):
        if one.seed == other.seed:
            raise InputError(
                f"runs '{one.run}' and '{other.run}' are one sample, not two: they have the same configuration and seed"
            )


def _group_name(settings: Mapping[str, Any], distinct: Sequence[Mapping[str, Any]]) -> str:
    """Return the method and whatever else tells the group from the others."""
    same_method = [other for other in distinct if other["method"] == settings["method"]]
    method = _base(settings["method"])
    alike = {other["method"] for other in distinct if _base(other["method"]) == method}
    name, parts = method if len(alike) == 1 else settings["method"], []
    for key in settings:
        rivals = same_method if key in OF_TIERS else distinct
        if key != "method" and any(other[key] != settings[key] for other in rivals):
            told = (
                _scheduler(settings[key], distinct) if key == "scheduler" else f"{_plain(key)} {_shown(settings[key])}"
            )
            parts.append(told)
    return printable(f"{name} ({', '.join(parts)})" if parts else name)


def _scheduler(text: str, distinct: Sequence[Mapping[str, Any]]) -> str:
    """Return a scheduler's name, with its settings if they are not its defaults, or if others have other ones."""
    base = _base(text)
    variants = {other["scheduler"] for other in distinct if _base(other["scheduler"]) == base}
    # What is not installed is not loaded to ask for its defaults: the folder may come from anybody.
    usual = len(variants) == 1 and base in installed("scheduler") and explicit("scheduler", base) == text
    return base if usual else _shown(text)


def _baseline(groups: Sequence[Group], name: str | None) -> Group | None:
    """Return the group that is meant by its name, method or scheduler, or None if it is not there.

    Raises:
        InputError: several are meant.
    """
    wanted = comparable(name or DEFAULT_BASELINE)
    for names_of in (_own_name, _method_names, _scheduler_names):
        found = [group for group in groups if wanted in map(comparable, names_of(group))]
        if len(found) > 1 and name is not None:
            meant = " or ".join(f"'{group.name}'" for group in found)
            raise InputError(f"baseline '{name}' is not one group but {len(found)}: give {meant}")
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _own_name(group: Group) -> list[str]:
    return [group.name]


def _method_names(group: Group) -> list[str]:
    return [group.settings["method"], _base(group.settings["method"])]


def _scheduler_names(group: Group) -> list[str]:
    """Return "static:m=2", "static:2" and "static" of a group that is told apart by its scheduler."""
    scheduler: str = group.settings["scheduler"]
    if printable(_base(scheduler)) not in group.name:
        return []
    return [scheduler, re.sub(r":\w+=", ":", scheduler, count=1), _base(scheduler)]


def _require_baseline(settings: Sequence[ComparisonSetting], name: str | None) -> None:
    if name is not None and all(setting.baseline is None for setting in settings):
        raise unknown_name("baseline", name, {group.name for setting in settings for group in setting.groups})


def _notes(loaded: Sequence[_Loaded], settings: Sequence[ComparisonSetting]) -> Iterator[str]:
    for run in loaded:
        if not run.figures.finished:
            done = f"{len(run.figures.course.accuracy_R)} of {run.config.rounds} rounds"
            yield f"run '{run.figures.run}' has not ended ({done}): its final accuracy is that of the last of these"
        if run.remark is not None:
            yield run.remark
    for setting in settings:
        where = f" ({setting.name})" if setting.name else ""
        if len({frozenset(run.seed for run in group.runs) for group in setting.groups}) > 1:
            yield f"the groups{where} have different seeds"
        if len({group.settings["rounds"] for group in setting.groups}) > 1:
            yield f"the groups{where} were given different numbers of rounds: their final accuracies are not comparable"
    codes = [run.code for run in loaded if run.code is not None]
    for what, place in (("commits", 0), ("versions of torch", 1)):
        if len(different := {code[place] for code in codes}) > 1:
            yield f"the runs are of {len(different)} {what} (see their environment.json), which can change figures, too"
    if any(run.config.stop_at_target for run in loaded):
        yield "runs stopped at their target: their final accuracy is the one that reached it"


def _shown(value: Any) -> str:
    """Return a configuration's value in a few words."""
    if value is None or value == []:
        return NOTHING
    if isinstance(value, list):
        return "+".join(item["name"] if isinstance(item, dict) else str(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _plain(key: str) -> str:
    return key.replace("_", " ")


def _base(specification: str) -> str:
    return specification.partition(":")[0]
