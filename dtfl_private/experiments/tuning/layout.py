"""From the table ``[tuning]`` of a preset to the plan of its trials."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dtfl_private.errors import InputError, unknown_name
from dtfl_private.experiments.config.toml_files import as_fields
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.planned_run import PlannedRun
from dtfl_private.experiments.preset_grid import MOST_RUNS, combinations, config_of, require_bounded
from dtfl_private.experiments.setup.named_plugins import make_method
from dtfl_private.experiments.tuning.plan import Trial, TunedCombination, Tuning
from dtfl_private.experiments.tuning.table import TUNABLE, TuningTable
from dtfl_private.plugins.own_objects import Allowed
from dtfl_private.plugins.settings import explicit
from dtfl_private.plugins.specification import Spec, canonical, parse
from dtfl_private.report.words.numbers import number_of


@dataclass(frozen=True, kw_only=True)
class _Source:
    """What trials are laid out from: the preset's table, seeds and size, its file, and what it may name."""

    table: TuningTable
    seeds: Sequence[int]
    size: str
    path: Path
    allowed: Allowed

    def config(self, planned: TrainConfig, values: Mapping[str, object]) -> TrainConfig:
        """Return a planned configuration with other values."""
        config = config_of({**planned.model_dump(), **values}, self.path, self.allowed)
        try:
            make_method(config.method, allowed=self.allowed)
        except InputError as error:
            raise InputError(f"preset '{self.path}': {error}") from None
        return config


def lay_out(
    table: TuningTable,
    planned: Mapping[str, Sequence[PlannedRun]],
    seeds: Sequence[int],
    size: str,
    path: Path,
    allowed: Allowed,
) -> Tuning:
    """Return the plan of a preset's trials.

    Args:
        table: what the preset says of them.
        planned: the preset's runs, one for each seed, by the name of their combination.
        seeds: of the preset.
        size: of the preset.
        path: of its file.
        allowed: what it may name by its module.

    Raises:
        InputError: a trial would be refused, or methods have different numbers of trials.
    """
    source = _Source(table=table, seeds=seeds, size=size, path=path, allowed=allowed)
    _require_sound(source, planned)
    tried = _tried(source)
    methods = {_method(runs[0].config.method) for runs in planned.values()}
    for method in tried:
        if method not in methods:
            raise unknown_name(f"method of [[tuning.trials]] in {path}:", method, methods)
    laid_out = [
        _combination(source, name, runs, tried.get(_method(runs[0].config.method), []))
        for name, runs in planned.items()
    ]
    _require_equal_counts(laid_out, path)
    tuning = Tuning(metric=table.metric, untuned=table.untuned, combinations=laid_out)
    if len(tuning.runs) > MOST_RUNS:
        raise InputError(f"preset '{path}' describes {len(tuning.runs):,} runs of trials, more than {MOST_RUNS:,}")
    return tuning


def with_validation(config: TrainConfig, table: TuningTable, path: Path) -> TrainConfig:
    """Return the configuration of a run such that it trains on no image that trials are judged on.

    The draw of validation images avoids those of runs that draw theirs; runs that train on all leave them out.

    Raises:
        InputError: the configuration itself says which images are held out.
    """
    if config.validation or config.judged_on != "test":
        raise InputError(f"preset '{path}' gives validation or judged_on beside [tuning]: give validation there")
    return config if config.max_train_images is not None else config.model_copy(update={"validation": table.validation})


def _require_sound(source: _Source, planned: Mapping[str, Sequence[PlannedRun]]) -> None:
    """Refuse what would make the choice unfair or impossible."""
    table, path = source.table, source.path
    if len(set(table.seeds)) < len(table.seeds):
        raise InputError(f"preset '{path}': tuning.seeds {table.seeds} name one seed twice")
    for seed in table.seeds:
        if seed in source.seeds:
            raise InputError(f"preset '{path}': tuning.seeds {table.seeds} has {seed}, a seed of the runs: take others")
    if table.metric == "time-to-target":
        for runs in planned.values():
            if runs[0].config.target_accuracy is None:
                raise InputError(f"preset '{path}': tuning.metric time-to-target needs a target for '{runs[0].name}'")


def _tried(source: _Source) -> dict[str, list[dict[str, object]]]:
    """Return the settings that are to be tried, by method, as they are written."""
    where = f"[[tuning.trials]] of {source.path}"
    tables = [as_fields(values, where, TUNABLE) for values in source.table.trials]
    require_bounded(tables, source.table.seeds, source.path)
    tried: dict[str, list[dict[str, object]]] = {}
    for values in tables:
        if "method" not in values:
            raise InputError(f"preset '{source.path}': a table of [[tuning.trials]] names no method: add one")
        for settings in combinations(values):
            tried.setdefault(_method(str(settings["method"])), []).append(settings)
    return tried


def _method(text: str) -> str:
    """Return the name of a method in its one spelling."""
    return parse("method", canonical("method", text)).name


def _combination(
    source: _Source, name: str, runs: Sequence[PlannedRun], tried: Sequence[Mapping[str, object]]
) -> TunedCombination:
    untuned = runs[0].config
    replaced: list[dict[str, object]] = [{}]
    known = [_values(untuned, source.allowed)]
    for settings in tried:
        own = {**settings, "method": _merged(untuned.method, str(settings["method"]))}
        values = _values(source.config(untuned, own), source.allowed)
        if values not in known:
            known.append(values)
            replaced.append(own)
    varying = [key for key in known[-1] if any(values.get(key) != known[0].get(key) for values in known)]
    trials = [
        Trial(
            settings={key: values[key] for key in varying if key in values},
            runs=[_trial_run(source, name, number, untuned, own, seed) for seed in source.table.seeds],
        )
        for number, (values, own) in enumerate(zip(known, replaced, strict=True), start=1)
    ]
    tuned = [runs if not own else [_tuned_run(source, name, run, own) for run in runs] for own in replaced]
    return TunedCombination(name=name, untuned=runs, trials=trials, tuned=tuned)


def _values(config: TrainConfig, allowed: Allowed) -> dict[str, Any]:
    """Return what may be tuned of a configuration; its method's settings stand beside the other keys."""
    values = config.model_dump(mode="json", include=set(TUNABLE) - {"method"})
    settings = parse("method", explicit("method", config.method, allowed=allowed)).settings
    return {**values, **{f"method.{key}" if key in values else key: value for key, value in settings.items()}}


def _merged(planned: str, tried: str) -> str:
    """Return a method with the settings that the preset gives it and those that a trial gives it, which win."""
    spec, own = parse("method", planned), parse("method", tried)
    settings = {**spec.settings, **own.settings}
    return _written(Spec(name=spec.name, settings=settings))


def _written(spec: Spec) -> str:
    settings = ",".join(value if key == "" else f"{key}={value}" for key, value in spec.settings.items())
    return f"{spec.name}:{settings}" if settings else spec.name


def _trial_run(
    source: _Source, name: str, number: int, untuned: TrainConfig, own: Mapping[str, object], seed: int
) -> PlannedRun:
    """Return a trial's run: judged on images that no run of the sweep trains on."""
    table = source.table
    avoided = [] if untuned.max_train_images is None else [*source.seeds, *table.seeds]
    rounds = table.rounds_of(source.size) or untuned.rounds
    values = {"validation": table.validation, "validation_avoids": avoided, "judged_on": "validation"}
    config = source.config(untuned, {**own, **values, "seed": seed, "rounds": rounds})
    return PlannedRun(name="-".join([*_named(name), f"trial{number}", f"seed{seed}"]), config=config)


def _tuned_run(source: _Source, name: str, run: PlannedRun, own: Mapping[str, object]) -> PlannedRun:
    config = source.config(run.config, own)
    return PlannedRun(name="-".join([*_named(name), "tuned", f"seed{config.seed}"]), config=config)


def _named(name: str) -> list[str]:
    """Return the name of a combination as a part of others; a preset of one combination has none."""
    return [name] if name else []


def _require_equal_counts(laid_out: Sequence[TunedCombination], path: Path) -> None:
    most = max(laid_out, key=lambda combination: len(combination.trials))
    for combination in laid_out:
        if len(combination.trials) < len(most.trials):
            few, many = combination.untuned[0].config, most.untuned[0].config
            raise InputError(
                f"preset '{path}': method {few.method} has {number_of(len(combination.trials), 'trial')} and "
                f"{many.method} {len(most.trials)}, the untuned settings included: give all the same number of trials"
            )
