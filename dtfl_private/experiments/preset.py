"""Presets: a TOML file that describes many runs, for `sweep`.

    title = "what the runs show"
    seeds = [0, 1, 2]
    baseline = "fedavg"              # what speed-ups refer to

    [config]                         # keys of CONFIG.toml, for all runs; ``extends = "base.toml"`` too
    clients = 10

    [[grid]]                         # keys of CONFIG.toml; a list means one run for each of its values
    method = ["dtfl", "fedavg"]
    partition = ["iid", "dirichlet:0.5"]
    together = [{ leave = 0.0, join = 0.0 }, { leave = 0.1, join = 0.4 }]   # tables of keys that vary together

    [sizes.small]                    # replaces what makes runs large or small, and nothing else
    model = "resnet-8"
    rounds = 20
    targets = { iid = 0.8, "dirichlet:0.5" = 0.7 }

With a table ``[plan]`` the runs are planned and not trained (`dtfl_private.experiments.plan_sweep`). With tables
``[[attack]]`` each run is attacked when it has ended (`dtfl_private.experiments.attack_table`).

A grid's runs are all combinations of its lists with those of the size, once for each seed. A grid's key wins over the
size's, and the size's over that of ``[config]``.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dtfl_private.errors import InputError, comparable, unknown_name
from dtfl_private.experiments.attack_table import AttackTable, attack_tables
from dtfl_private.experiments.config.composition import table_values
from dtfl_private.experiments.config.field_kinds import LARGEST_INTEGER
from dtfl_private.experiments.config.plugin_fields import named_objects
from dtfl_private.experiments.config.toml_files import as_fields, load_toml
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.plan_table import PlanTable
from dtfl_private.experiments.planned_run import PlannedRun
from dtfl_private.experiments.preset_grid import combinations, config_of, require_bounded
from dtfl_private.experiments.tuning.layout import lay_out, with_validation
from dtfl_private.experiments.tuning.plan import Tuning
from dtfl_private.experiments.tuning.table import TuningTable
from dtfl_private.plugins.own_objects import allowance
from dtfl_private.plugins.specification import canonical
from dtfl_private.runtime.executor_choice import LOCAL

# What a size may replace: data, network, clients, length, numerics, and what is measured in rounds, in tiers or against
# the network's arithmetic.
SIZE_KEYS = (
    *("dataset", "max_train_images", "model", "clients", "tiers", "scheduler", "rounds", "drift_every"),
    *("batch_size", "local_epochs", "target_accuracy", "precision", "device", "cpu_gmacs"),
)
TARGETS = "targets"
ATTACK = "attack"
TOGETHER = "together"

# Named by their values alone in the names of runs; other keys are written before their values.
SPEAKING = frozenset({"dataset", "model", "method", "scheduler", "partition", "link_unit"})


class _PresetFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    seeds: Annotated[list[Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]], Field(min_length=1)]
    baseline: str | None = None
    tuning: TuningTable | None = None
    plan: PlanTable | None = None
    attack: list[dict[str, Any]] | None = None
    config: dict[str, Any] = Field(default_factory=dict)
    grid: Annotated[list[dict[str, Any]], Field(min_length=1)]
    sizes: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A preset in one of its sizes.

    Attributes:
        name: the file's name without its ending, and the size.
        title: what the runs show.
        baseline: method or scheduler that speed-ups refer to; None: FedAvg, if it is there.
        runs: all combinations and seeds, in the order of the file, the seeds of a combination one after the other.
        tuning: how settings are chosen first; None: the runs have those that the file says.
        plan: the runs are planned, not trained, with what this says in place of data; None: they are trained.
        attack: how each run is attacked when it has ended; none: not at all.
    """

    name: str
    title: str
    baseline: str | None
    runs: Sequence[PlannedRun]
    tuning: Tuning | None = None
    plan: PlanTable | None = None
    attack: tuple[AttackTable, ...] = ()


def load_preset(path: Path, size: str, *, allow_plugins: Iterable[str] = (), **overrides: object) -> Preset:
    """Read a preset and lay out its runs.

    Args:
        path: the TOML file.
        size: which of its sizes.
        allow_plugins: modules whose objects the file may name (``package.module:function``).
        overrides: configuration keys that win over all others, such as the place of the data on this machine.

    Raises:
        InputError: the file cannot be read, has a key that is not known, or describes a run that would be refused, as
            one that names an object that is not allowed.
    """
    allowed = allowance(allow_plugins) | named_objects(overrides)
    file = _read(path)
    if size not in file.sizes:
        raise unknown_name("size", size, file.sizes)
    chosen = {name: _size(values, f"[sizes.{name}] of {path}") for name, values in file.sizes.items()}[size]
    base = table_values(file.config, path, f"[config] of {path}")
    grids = [grid for values in file.grid for grid in _together(values, f"[[grid]] of {path}")]
    varied: list[dict[str, object]] = []
    require_bounded([{**chosen.axes, **grid} for grid in grids], file.seeds, path)
    for grid in grids:
        for combination in combinations({**chosen.axes, **grid}):
            values = {**base, **chosen.given(combination, base), **combination}
            if values not in varied:
                varied.append(values)
    configs = [
        config_of({**values, **overrides, "seed": seed, "workers": 1, "executor": LOCAL}, path, allowed)
        for values in varied
        for seed in file.seeds
    ]
    if file.tuning is not None:
        configs = [with_validation(config, file.tuning, path) for config in configs]
    if file.plan is not None:
        file.plan.require_varying(configs, str(path))
    _require_baseline(file.baseline, configs, path)
    planned = _planned(configs, path)
    attack = file.attack if chosen.attack is None else chosen.attack
    if attack is not None and (file.plan is not None or file.tuning is not None):
        other = "[plan], which trains nothing" if file.plan is not None else "[tuning]"
        raise InputError(f"preset '{path}' has [[attack]] and {other}: leave one out")
    tuning = None
    if file.tuning is not None:
        tuning = lay_out(file.tuning, planned, file.seeds, size, path, allowed)
    return Preset(
        name=f"{path.stem}-{size}",
        title=file.title,
        baseline=file.baseline,
        runs=[run for runs in planned.values() for run in runs],
        tuning=tuning,
        plan=file.plan,
        attack=() if attack is None else attack_tables(attack, str(path)),
    )


def _read(path: Path) -> _PresetFile:
    try:
        file = _PresetFile.model_validate(load_toml(path, "preset"))
    except ValidationError as error:
        # A misspelled key is also a missing one; only its own message helps.
        first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            tables: dict[str, type[BaseModel]] = {"tuning": TuningTable, "plan": PlanTable}
            fields = (_PresetFile if len(first["loc"]) == 1 else tables[str(first["loc"][0])]).model_fields
            raise unknown_name(f"key in {path}:", str(first["loc"][-1]), fields) from None
        reason = first["msg"][:1].lower() + first["msg"][1:]
        raise InputError(f"preset '{path}': {where} is refused: {reason}") from None
    cases = [case for grid in file.grid for case in _cases(grid, f"[[grid]] of {path}")]
    given = {comparable(key) for values in (file.config, *file.grid, *cases) for key in values}
    for key in given & {"seed", "workers"}:
        raise InputError(f"preset '{path}' gives '{key}': a sweep sets it itself, write seeds = [...] at the top")
    if "executor" in given:
        raise InputError(f"preset '{path}' gives 'executor': say to the sweep who computes, by --executor")
    if file.plan is not None and file.tuning is not None:
        raise InputError(f"preset '{path}' has [plan] and [tuning], which needs training: leave one out")
    if len(set(file.seeds)) < len(file.seeds):
        raise InputError(f"preset '{path}': seeds {file.seeds} name one seed twice")
    return file


def _cases(grid: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    """Return the tables of keys that vary together; a single empty one where none do."""
    cases = grid.get(TOGETHER, [{}])
    if not isinstance(cases, list) or not cases or not all(isinstance(case, dict) for case in cases):
        raise InputError(
            f"{TOGETHER} in {where} is refused: expected a list of tables, as [{{ leave = 0.1, join = 0.4 }}]"
        )
    return cases


def _together(grid: Mapping[str, Any], where: str) -> Iterator[dict[str, object]]:
    """Yield the keys of a grid with those of each of its tables of keys that vary together."""
    own = as_fields({key: value for key, value in grid.items() if key != TOGETHER}, where, beside=[TOGETHER])
    for case in _cases(grid, where):
        values = as_fields(case, f"{TOGETHER} in {where}")
        if [] in values.values():
            raise InputError(
                f"{TOGETHER} in {where} has an empty list, which is no run: give it values or leave it out"
            )
        for key in own.keys() & values.keys():
            raise InputError(f"{where} gives '{key}' both in {TOGETHER} and beside it: leave one out")
        yield {**own, **values}


@dataclass(frozen=True, kw_only=True)
class _Size:
    """A size: axes of the grid, target accuracies by partition, and its own tables ``[[attack]]``."""

    axes: Mapping[str, object]
    targets: Mapping[str, float]
    attack: object

    def given(self, combination: Mapping[str, object], base: Mapping[str, object]) -> dict[str, object]:
        """Return the target of a combination's partition, where the size names one."""
        partition = combination.get("partition", base.get("partition", TrainConfig().partition))
        target = self.targets.get(canonical("partition", str(partition)))
        return {} if target is None else {"target_accuracy": target}


def _size(values: Mapping[str, Any], where: str) -> _Size:
    axes = as_fields(values, where, (*SIZE_KEYS, TARGETS, ATTACK))
    targets, attack = axes.pop(TARGETS, {}), axes.pop(ATTACK, None)
    if not isinstance(targets, dict) or not all(isinstance(target, float) for target in targets.values()):
        raise InputError(f"{TARGETS} in {where} is refused: expected one accuracy for each partition")
    by_partition = {canonical("partition", name): target for name, target in targets.items()}
    return _Size(axes=axes, targets=by_partition, attack=attack)


def baseline_names(config: TrainConfig) -> set[str]:
    """Return what a preset may call a run as its baseline: its method or its scheduler, with or without settings."""
    written = {config.method, config.scheduler}
    return written | {name.partition(":")[0] for name in written}


def _require_baseline(baseline: str | None, configs: Sequence[TrainConfig], path: Path) -> None:
    there = set().union(*(baseline_names(config) for config in configs))
    if baseline is not None and baseline not in there:
        raise unknown_name(f"baseline in {path}:", baseline, there)


def _planned(configs: Sequence[TrainConfig], path: Path) -> dict[str, list[PlannedRun]]:
    """Return the runs by the name of their combination, made of what varies between them."""
    all_values = [config.model_dump(mode="json", exclude={"seed", "target_accuracy"}) for config in configs]
    varying = [key for key in all_values[0] if any(values[key] != all_values[0][key] for values in all_values)]
    planned: dict[str, list[PlannedRun]] = {}
    names = set()
    for config, values in zip(configs, all_values, strict=True):
        combination = "-".join(_slug(key, values[key]) for key in varying)
        name = f"{combination}-seed{config.seed}" if combination else f"seed{config.seed}"
        if name in names:
            raise InputError(f"preset '{path}' has two runs that would both be called '{name}': let other keys differ")
        names.add(name)
        planned.setdefault(combination, []).append(PlannedRun(name=name, config=config))
    return planned


def _slug(key: str, value: object) -> str:
    text = str(value) if key in SPEAKING else f"{key}{value}"
    return re.sub(r"[^A-Za-z0-9.]+", "_", text).strip("_")
