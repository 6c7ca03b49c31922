"""Errors of a configuration in one line: which key, which value, what is expected."""

from collections.abc import Mapping
from typing import Any, get_args

from pydantic.fields import FieldInfo

from dtfl_private.errors import InputError, unknown_name
from dtfl_private.printable import shown_value
from dtfl_private.simulation.clients.profiles import ResourceProfile


def config_error(first: Any, fields: Mapping[str, FieldInfo], source: str) -> InputError:
    """Return the error of one refusal by pydantic, of fields whose values are from ``source``."""
    # The path to the value, without the tags of a union: "profiles", or "profiles.0.cpus" inside a table.
    path = [str(part) for part in first["loc"] if part not in ("<name>", "<tables>")]
    key, where = path[0], ".".join(path)
    if first["type"] == "extra_forbidden":
        return unknown_name(f"key in {source}", path[-1], fields if len(path) == 1 else ResourceProfile.model_fields)
    choices = choices_of(fields[key].annotation) if key in fields else ()
    if first["type"] == "literal_error" and choices:
        return unknown_name(key, shown_value(first["input"]).strip("'"), choices)
    reason = first["msg"].removeprefix("Value error, ")
    given = "" if first["type"] == "missing" else f" {shown_value(first['input'])}"
    return InputError(f"{where}{given} is refused: {reason[:1].lower()}{reason[1:]}")


def choices_of(annotation: Any) -> tuple[str, ...]:
    """Return the names that a field of fixed choices takes, or nothing."""
    if get_args(annotation) and all(isinstance(value, str) for value in get_args(annotation)):
        return get_args(annotation)
    return next((found for inner in get_args(annotation) if (found := choices_of(inner))), ())
