"""What every plug-in of a kind is, in a line each."""

import inspect
from collections.abc import Callable
from importlib.metadata import EntryPoint
from typing import Any

from dtfl_private.plugins.documentation import summary
from dtfl_private.plugins.factories import CORE_PARAMETERS, load, parameters_of
from dtfl_private.plugins.installed import installed


def described(kind: str) -> list[tuple[str, str, str]]:
    """Return (name, settings with defaults, first line of the docstring) of every installed plug-in of a kind."""
    return [(name, *description(kind, point)) for name, point in installed(kind).items()]


def description(kind: str, point: EntryPoint) -> tuple[str, str]:
    """Return (settings with defaults, first line of the docstring) of a plug-in, which is imported."""
    factory = load(kind, point)
    return _settings_text(kind, factory), summary(factory)


def _settings_text(kind: str, factory: Callable[..., Any]) -> str:
    parts = []
    for name, parameter in parameters_of(factory).items():
        if name not in CORE_PARAMETERS.get(kind, ()):
            default = "" if parameter.default is inspect.Parameter.empty else f"={parameter.default}"
            parts.append(name + default)
    return ", ".join(parts)
