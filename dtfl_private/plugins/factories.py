"""The functions and classes that make plug-ins, and their parameters."""

import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint
from typing import Any

from dtfl_private.errors import InputError
from dtfl_private.plugins.installed import find, installed
from dtfl_private.plugins.own_objects import (
    Allowed,
    import_object,
)
from dtfl_private.plugins.specification import is_object_path

# Parameters that the core supplies to plug-ins of a kind, hence not settings of the user.
CORE_PARAMETERS: Mapping[str, frozenset[str]] = {
    "model": frozenset({"input_shape", "classes", "norm", "tokens"}),
    "dataset": frozenset({"data_dir", "download"}),
}


def load(kind: str, point: EntryPoint) -> Callable[..., Any]:
    """Return what an entry point names, which is imported.

    Raises:
        InputError: it cannot be imported.
    """
    try:
        factory: Callable[..., Any] = point.load()
    except (ImportError, AttributeError) as error:
        raise InputError(f"{kind} '{point.name}' ({point.value}) cannot be loaded: {error}") from None
    return factory


def factory_of(kind: str, name: str, allowed: Allowed) -> tuple[str, Callable[..., Any]]:
    """Return a plug-in's name as it is to be written, and the plug-in: registered, or an object by its module."""
    if is_object_path(kind, name):
        return name, import_object(kind, name, allowed, installed(kind))
    point = find(kind, name)
    return point.name, load(kind, point)


def parameters_of(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the parameters that can be given by name: ``*args`` and ``**kwargs`` are no settings."""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    try:
        parameters = inspect.signature(factory).parameters
    except (ValueError, TypeError):  # written in C, or with a signature of its own making
        raise InputError(
            f"the settings of '{factory.__module__}:{factory.__qualname__}' cannot be read: "
            "name a function that has its parameters written out"
        ) from None
    return {name: parameter for name, parameter in parameters.items() if parameter.kind not in variadic}


def takes_anything(factory: Callable[..., Any]) -> bool:
    """Whether a factory has ``**kwargs``."""
    kinds = {parameter.kind for parameter in inspect.signature(factory).parameters.values()}
    return inspect.Parameter.VAR_KEYWORD in kinds
