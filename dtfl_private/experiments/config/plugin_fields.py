"""The fields of a configuration that name plug-ins: how they are spelled, and which objects they name."""

from collections.abc import Mapping

from pydantic import (
    BeforeValidator,
)

from dtfl_private.experiments.config.defense_tables import as_texts
from dtfl_private.plugins.own_objects import NOTHING_ALLOWED, Allowed
from dtfl_private.plugins.specification import canonical, named_object
from dtfl_private.protection.defense_rule import with_spelled_rule

# Starts the name of a plug-in that was passed from Python as an object; no entry point can have it.
OBJECT = "object:"


def named(kind: str) -> BeforeValidator:
    """Return what spells the name of a plug-in of a kind in its one way."""
    return BeforeValidator(lambda value: _spelled(kind, value))


def all_named(kind: str) -> BeforeValidator:
    """Return what spells the names of several plug-ins; one name is a list of one. Defenses may be tables, too."""

    def spell(value: object) -> object:
        texts = [value] if isinstance(value, str) else as_texts(value)
        return [_spelled(kind, text) for text in texts] if isinstance(texts, list | tuple) else texts

    return BeforeValidator(spell)


def _spelled(kind: str, value: object) -> object:
    if not isinstance(value, str) or value.startswith(OBJECT):
        return value
    return with_spelled_rule(canonical(kind, value)) if kind == "defense" else canonical(kind, value)


def object_name(thing: object) -> str:
    """Return how a configuration names a plug-in that was passed as an object."""
    from dtfl_private.protection.conditional import Conditional  # loads torch, as whoever has an object has already

    if isinstance(thing, Conditional):
        return f"{OBJECT}{type(thing.defense).__name__}@{thing.rule}"
    return OBJECT + type(thing).__name__


PLUGIN_FIELDS = ("dataset", "partition", "model", "method", "scheduler", "defense")
"""The fields that name plug-ins; each is called like its kind."""


def named_objects(values: Mapping[str, object]) -> Allowed:
    """Return what values of a configuration name by its module, which whoever wrote them by hand thereby allows."""
    found: Allowed = NOTHING_ALLOWED
    for kind in PLUGIN_FIELDS:
        value = values.get(kind, ())
        value = as_texts(value) if kind == "defense" else value
        for text in [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else ():
            found |= named_object(kind, text) if isinstance(text, str) else NOTHING_ALLOWED
    return found
