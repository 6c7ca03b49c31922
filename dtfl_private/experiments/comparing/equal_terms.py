"""What must be equal for the figures of runs to be comparable: network, data, environment, target."""

from collections.abc import Mapping, Sequence
from typing import Any

from dtfl_private.errors import InputError
from dtfl_private.experiments.comparing.compared_runs import LoadedRun
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.config.value_words import plain, shown
from dtfl_private.printable import printable

FOOTING = (
    *("model", "dataset", "max_train_images", "validation", "validation_held_by", "validation_avoids"),
    *("train_avoids", "judged_on"),
    *("augment", "partition", "clients", "fraction"),
    *("profiles", "link_unit", "cpu_gmacs", "traces", "drift", "drift_share", "drift_every", "noise"),
    *("dropout", "absent", "leave", "join", "server_workers", "server_cpus"),
    *("target_accuracy", "stop_at_target"),
)

# Whether settings were chosen by trials: such runs are set apart from others.
TUNING = "settings"

# What changes no figure here, or by chance only.
RECORDING = ("record_rounds", "record_clients", "record_images")
FREE = (
    "data_dir",
    "download",
    "leakage_budget",
    "leakage_from",
    "device",
    "memory_format",
    "workers",
    "executor",
    "seed",
    *RECORDING,
)


def footing_of(config: TrainConfig, target: float | None) -> dict[str, Any]:
    """Return what must be equal; what has no effect in this run is left out."""
    values = config.model_dump(mode="json")
    footing = {key: values[key] for key in FOOTING}
    if config.drift_share == 0:
        del footing["drift_every"], footing["drift"]
    if target is not None:  # it replaces the runs' own
        footing["target_accuracy"] = target
    return footing


def with_tuning(loaded: Sequence[LoadedRun], footings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the footings of runs, which are not the same where the settings of some were chosen by trials."""
    if all(run.tuned is None for run in loaded):
        return [dict(footing) for footing in footings]
    said = ["untuned" if run.tuned is None else "tuned" for run in loaded]
    return [{**footing, TUNING: text} for footing, text in zip(footings, said, strict=True)]


def require_one_footing(loaded: Sequence[LoadedRun], footings: Sequence[Mapping[str, Any]]) -> None:
    """Raise `InputError` if runs differ in what must be equal."""
    first = footings[0]
    for run, other in zip(loaded, footings, strict=True):
        for key in (*FOOTING, TUNING):
            if first.get(key) != other.get(key):
                raise InputError(
                    f"runs differ in {key}: {shown(first.get(key))} in '{loaded[0].figures.run}', "
                    f"{shown(other.get(key))} in '{run.figures.run}': compare like with like, or add --apart"
                )


def setting_names(footings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return for each run what sets its footing apart from others."""
    varying = [
        key for key in (*FOOTING, TUNING) if any(footing.get(key) != footings[0].get(key) for footing in footings)
    ]
    return [printable(", ".join(f"{plain(key)} {shown(footing.get(key))}" for key in varying)) for footing in footings]


def require_equal_data(members: Sequence[LoadedRun]) -> None:
    """Refuse different data under one name; only runs of one seed draw the same images."""
    first: dict[int, LoadedRun] = {}
    for run in members:
        other = first.setdefault(run.config.seed, run)
        if other.data_sha256 != run.data_sha256:
            raise InputError(
                f"runs '{other.figures.run}' and '{run.figures.run}' name the same data, but had different ones "
                "(data_sha256 in environment.json)"
            )
