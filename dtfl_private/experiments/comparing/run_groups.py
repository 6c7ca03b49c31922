"""Groups of runs that differ by their seeds alone, and their names."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from dtfl_private.errors import InputError
from dtfl_private.experiments.comparing.compared_runs import LoadedRun
from dtfl_private.experiments.comparing.equal_terms import (
    FOOTING,
    FREE,
)
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.config.value_words import base_name, plain, shown
from dtfl_private.plugins.installed import installed
from dtfl_private.plugins.settings import explicit
from dtfl_private.printable import printable
from dtfl_private.report.comparison.groups import Group
from dtfl_private.report.comparison.runs import RunFigures

# Of no effect on methods without tiers or heads: named only where runs of one method differ in them.
OF_TIERS = ("scheduler", "tiers", "allowed_tiers", "first_tier", "ema", "head")


def grouped_runs(members: Sequence[LoadedRun]) -> list[Group]:
    """Return the runs grouped by all that differs but the seed, in the order of their first runs."""
    every = [_settings(run.grouped_by) for run in members]
    distinct: list[dict[str, Any]] = []
    for settings in every:
        if settings not in distinct:
            distinct.append(settings)
    groups = []
    for settings in distinct:
        own = [run for run, grouped_by in zip(members, every, strict=True) if grouped_by == settings]
        runs = [run.figures for run in own]
        _require_different_seeds(runs)
        tuned = own[0].tuned
        groups.append(
            Group(
                name=_group_name(settings, distinct),
                settings=_settings(own[0].config),
                runs=runs,
                tuned=None if tuned is None else tuned.settings,
            )
        )
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
    method = base_name(settings["method"])
    alike = {other["method"] for other in distinct if base_name(other["method"]) == method}
    name, parts = method if len(alike) == 1 else settings["method"], []
    for key in settings:
        rivals = same_method if key in OF_TIERS else distinct
        if key != "method" and any(other[key] != settings[key] for other in rivals):
            told = _scheduler(settings[key], distinct) if key == "scheduler" else f"{plain(key)} {shown(settings[key])}"
            parts.append(told)
    return printable(f"{name} ({', '.join(parts)})" if parts else name)


def _scheduler(text: str, distinct: Sequence[Mapping[str, Any]]) -> str:
    """Return a scheduler's name, with its settings if they are not its defaults, or if others have other ones."""
    base = base_name(text)
    variants = {other["scheduler"] for other in distinct if base_name(other["scheduler"]) == base}
    # What is not installed is not loaded to ask for its defaults: the folder may come from anybody.
    usual = len(variants) == 1 and base in installed("scheduler") and explicit("scheduler", base) == text
    return base if usual else shown(text)
