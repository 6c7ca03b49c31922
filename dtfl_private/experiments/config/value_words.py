"""Values of configurations in a few words, for tables and messages."""

from typing import Any

from dtfl_private.experiments.config.field_kinds import NOTHING


def shown(value: Any) -> str:
    """Return a configuration's value in a few words."""
    if value is None or value == []:
        return NOTHING
    if isinstance(value, list):
        return "+".join(item["name"] if isinstance(item, dict) else str(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def plain(key: str) -> str:
    """Return a key of a configuration as words."""
    return key.replace("_", " ")


def base_name(specification: str) -> str:
    """Return the name in a specification, without settings."""
    return specification.partition(":")[0]
