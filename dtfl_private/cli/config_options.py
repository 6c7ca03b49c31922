"""Options made of the fields of `TrainConfig`: one for each, under the heading of its group."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from dtfl_private.cli.command import GroupedOption
from dtfl_private.cli.completion import Completer, of_defenses, of_files, of_folders, of_parts, of_plugins, of_words
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.composition import Layer, set_values
from dtfl_private.experiments.config.config_errors import choices_of
from dtfl_private.experiments.config.field_kinds import AUTOMATIC, NOTHING
from dtfl_private.experiments.config.plugin_fields import PLUGIN_FIELDS, named_objects
from dtfl_private.experiments.config.train_config import TrainConfig, make_config
from dtfl_private.simulation.clients.profiles import PROFILE_SETS


def config_options(names: Sequence[str]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add one option per named field of `TrainConfig`; what the user leaves out is not passed on."""

    def add(command: Callable[..., None]) -> Callable[..., None]:
        for name in reversed(names):
            command = _config_option(name)(command)
        return command

    return add


def _config_option(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    field = TrainConfig.model_fields[name]
    extra = field.json_schema_extra
    group = str(extra["group"]) if isinstance(extra, dict) else ""
    flag = "--" + name.replace("_", "-")
    shared: dict[str, Any] = {"cls": GroupedOption, "group": group, "default": None}
    default = COMMAND_LINE_DEFAULTS.get(name, field.default)
    shown = "" if default in (None, []) else f"  [default: {_shown(default)}]"
    if isinstance(field.default, bool):
        return click.option(f"{flag}/--no-{flag[2:]}", help=f"{field.description}", **shared)
    choices = choices_of(field.annotation)
    metavar = "|".join(choices) if choices and name != "augment" else METAVARS.get(name, _kind(field.default))
    return click.option(
        flag,
        name,
        help=f"{field.description}{shown}",
        metavar=metavar,
        multiple=name == "defense",
        shell_complete=_completer(name, choices),
        **shared,
    )


def _completer(name: str, choices: Sequence[str]) -> Completer | None:
    """Return what completes a field's value."""
    if name == "defense":
        return of_defenses
    if name in PLUGIN_FIELDS:
        return of_plugins(name)
    if name == "augment":
        return of_parts(choices)
    return COMPLETERS.get(name) or (of_words(choices) if choices else None)


COMPLETERS = {
    "data_dir": of_folders,
    "leakage_budget": of_files,
    "leakage_from": of_files,
    "traces": of_files,
    "profiles": of_words([*PROFILE_SETS]),
}


# Where the command line's default is another than the library's: processes of its own may start processes, a script or
# notebook that calls `train` need not be prepared for that.
COMMAND_LINE_DEFAULTS: dict[str, object] = {"workers": AUTOMATIC}

METAVARS = {
    "data_dir": "DIR",
    "max_train_images": "N",
    "train_avoids": "S,S,...",
    "validation": "SHARE",
    "validation_avoids": "S,S,...",
    "normalization": "client-sums|constants[:mean=X,std=Y]|pooled",
    "augment": "NAMES",
    "tiers": "M",
    "allowed_tiers": "M,M,...",
    "leakage_budget": "AUDIT.json:key=value,...",
    "exposure_budget": "X",
    "leakage_from": "AUDIT.json[:metric=NAME]",
    "tier_leakage": "M=X,M=X,...",
    "deadline": "X",
    "target_accuracy": "A",
    "patience": "N",
    "defense": "NAME[:key=value,...][@RULE]",
    "profiles": "NAME|FILE",
    "traces": "FILE[:sha256=HEX]",
    "record_rounds": "N,N,...|last",
    "record_clients": "N,N,...",
    "workers": "N|auto",
    "executor": "local|ray[:key=value,...]",
}


def _kind(default: object) -> str:
    return {int: "N", float: "X"}.get(type(default), "NAME[:key=value,...]")


def _shown(default: object) -> str:
    return f"{default:.3g}" if isinstance(default, float) else str(default)


def typed_config(options: dict[str, Any]) -> TrainConfig:
    """Return the configuration that options of the command line make; what they name by its module is allowed."""
    given = given_options(options)
    require_data_named(given)
    return make_config(given, allowed=named_objects(given))


def require_data_named(values: Mapping[str, object]) -> None:
    """Refuse a folder of data for the default data set, which reads none: the user's own would not be what is used.

    Raises:
        InputError: the values name a folder of data, and no data set.
    """
    folder = values.get("data_dir")
    if folder not in (None, NOTHING) and "dataset" not in values:
        raise InputError(
            f"--data-dir '{folder}' is not read by {TrainConfig().dataset}, the default data set: add --dataset, for "
            "your own images --dataset image-folder"
        )


def given_options(options: Mapping[str, object]) -> dict[str, object]:
    """Return the options that the user wrote."""
    return {name: value for name, value in options.items() if value is not None and value != ()}


def typed_layers(settings: Sequence[str], options: Mapping[str, object]) -> list[Layer]:
    """Return what the user typed: the values of --set, and those of each option.

    Raises:
        InputError: a value is given in both ways, or --set is refused.
    """
    layers = [Layer(source="--set", values=set_values(settings))]
    for name, value in given_options(options).items():
        flag = ("--no-" if value is False else "--") + name.replace("_", "-")
        if name in layers[0].values:
            raise InputError(f"--set {name}=... and {flag} both say what '{name}' is: give one of them")
        layers.append(Layer(source=flag, values={name: value}))
    return layers
