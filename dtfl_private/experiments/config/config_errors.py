"""Errors of a configuration in one line: which key, which value, what is expected."""

from collections.abc import Mapping
from typing import Any, get_args

from pydantic.fields import FieldInfo

from dtfl_private.errors import InputError, unknown_name
from dtfl_private.printable import short_name, shown_value
from dtfl_private.simulation.clients.profiles import choices_there, key_path, keys_of_table


def config_error(first: Any, fields: Mapping[str, FieldInfo], source: str) -> InputError:
    """Return the error of one refusal by pydantic, of fields whose values are from ``source``."""
    # The path to the value, without the tags of a union: "profiles", or "profiles.0.cpus" inside a table.
    path = [str(part) for part in first["loc"] if part not in ("<name>", "<tables>")]
    key, where = path[0], ".".join(path)
    if first["type"] == "extra_forbidden":
        return unknown_name(f"key in {source}", path[-1], fields if len(path) == 1 else keys_of_table(path[:-1]))
    choices = choices_of(fields[key].annotation) if key in fields else ()
    if first["type"] == "literal_error" and choices:
        return unknown_name(key, shown_value(first["input"]).strip("'"), choices)
    if first["type"] == "literal_error" and key == "profiles":
        table, name = key_path({**first, "loc": path})
        return unknown_name(f"name in {source}: {'.'.join(map(short_name, table))}:", name, choices_there(first))
    reason = first["msg"].removeprefix("Value error, ")
    given = (
        ""
        if first["type"] == "missing" or (key == "profiles" and first["type"] == "value_error")
        else f" {shown_value(first['input'])}"
    )
    return InputError(f"{where}{given} is refused: {reason[:1].lower()}{reason[1:]}")


def choices_of(annotation: Any) -> tuple[str, ...]:
    """Return the names that a field of fixed choices takes, or nothing."""
    if get_args(annotation) and all(isinstance(value, str) for value in get_args(annotation)):
        return get_args(annotation)
    return next((found for inner in get_args(annotation) if (found := choices_of(inner))), ())
