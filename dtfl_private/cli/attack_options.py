"""Options made of the fields of `AttackConfig` and `AuditConfig`: one for each field that a command names."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import annotated_types
import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dtfl_private.cli.completion import of_adversaries, of_folders, of_plugins, of_runs, of_words
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.config_errors import choices_of

# Options that are repeated, named in the singular.
REPEATED = {"attacks": "--attack", "tiers": "--tier", "clients": "--client"}

METAVARS = {
    "attacks": "NAME[:key=value,...]",
    "tiers": "M|all",
    "adversary": "NAME",
    "aux": "same|mixture|client:K|shifted:DATASET|architecture|none",
    "clients": "K",
    "aux_dir": "DIR",
    "executor": "local|ray[:key=value,...]",
}

COMPLETERS = {
    "attacks": of_plugins("attack"),
    "adversary": of_adversaries,
    "aux": of_words(["same", "mixture", "client:", "shifted:", "architecture", "none"]),
    "aux_dir": of_folders,
    "tiers": of_words(["all"]),
    "undefended": of_runs,
}

# The command line asks for as many auxiliary images as every attack can train on.
LEAST = {"aux_images": 12}


def model_options(
    model: type[BaseModel],
    names: Sequence[str],
    *,
    defaults: Mapping[str, str],
    metavars: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add one option per named field of a model.

    Args:
        model: whose descriptions are the help.
        names: fields, in the order of the help.
        defaults: in words, of fields whose default is no plain value.
        metavars: of this command, besides `METAVARS`.
    """
    shown = {**METAVARS, **(metavars or {})}

    def add(command: Callable[..., None]) -> Callable[..., None]:
        for name in reversed(names):
            option = _option(name, model.model_fields[name], defaults.get(name), shown.get(name))
            command = option(command)
        return command

    return add


def _option(
    name: str, field: FieldInfo, default: str | None, metavar: str | None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    words = "" if default is None else f"  [default: {default}]"
    settings: dict[str, Any] = {"help": f"{field.description}{words}"}
    if isinstance(field.default, bool):
        return click.option(f"--{name.replace('_', '-')}", name, is_flag=True, **settings)
    settings["shell_complete"] = COMPLETERS.get(name) or of_words(choices_of(field.annotation))
    if name in REPEATED:
        return click.option(REPEATED[name], name, multiple=True, metavar=metavar, **settings)
    if field.default is not None:
        settings |= {"default": field.default, "show_default": True}
    if (least := LEAST.get(name, _least(field))) is not None:
        settings["type"], metavar = click.IntRange(min=least), metavar or "N"
    settings["metavar"] = metavar or "|".join(choices_of(field.annotation)) or None
    return click.option(f"--{name.replace('_', '-')}", name, **settings)


def _least(field: Any) -> int | None:
    """Return the least number that a field takes, wherever its annotation says so."""
    for part in (*getattr(field, "metadata", ()), *getattr(field, "__metadata__", ())):
        if isinstance(part, annotated_types.Ge) and isinstance(part.ge, int):
            return part.ge
        if isinstance(part, FieldInfo) and (least := _least(part)) is not None:
            return least
    inner = get_args(field.annotation if isinstance(field, FieldInfo) else field)
    return next((least for part in inner if (least := _least(part)) is not None), None)


def attacked_tiers(texts: tuple[str, ...]) -> object:
    """Return tier numbers of options like 2, 1,3 or all."""
    parts = [part.strip() for text in texts for part in text.split(",")]
    if not parts:
        return None
    if "all" in parts:
        return "all"
    for part in parts:
        if not (part.isascii() and part.isdigit() and int(part)):
            raise InputError(f"tier '{part}' is refused: expected a number from 1 on, or all")
    return [int(part) for part in parts]
