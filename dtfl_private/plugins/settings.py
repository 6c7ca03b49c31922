"""The settings of a plug-in: converted by the annotations of its parameters, and written out."""

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from dtfl_private.errors import InputError, shortened
from dtfl_private.plugins.factories import CORE_PARAMETERS, factory_of, parameters_of
from dtfl_private.plugins.own_objects import (
    NOTHING_ALLOWED,
    Allowed,
    failure_text,
)
from dtfl_private.plugins.specification import Spec, parse, without_rule

# Types whose values can be written in a specification: of defaults that are recorded, and of unannotated parameters.
SIMPLE = (bool, int, float, str)


def explicit(kind: str, text: str, *, allowed: Allowed = NOTHING_ALLOWED) -> str:
    """Return a specification with every setting written out, defaults included.

    A default that would not be read back as the same value (a tuple, a class, a text with a comma) is left out. A rule
    stays as it is.
    ``allowed`` is as for `create`.
    """
    spec = parse(kind, text)
    spelled, factory = factory_of(kind, spec.name, allowed)
    settings = {}
    first = True
    for name, parameter in parameters_of(factory).items():
        if name in CORE_PARAMETERS.get(kind, ()):
            continue
        given = spec.settings.get(name)
        if first and given is None:
            given = spec.settings.get("")
        first = False
        if given is None and _is_written(kind, spelled, factory, parameter):
            given = str(parameter.default)
        if given is not None:
            settings[name] = given
    written = ",".join(f"{name}={value}" for name, value in settings.items())
    return (f"{spelled}:{written}" if written else spelled) + without_rule(kind, text)[1]


def _is_written(kind: str, spelled: str, factory: Callable[..., Any], parameter: inspect.Parameter) -> bool:
    """Whether a parameter has a default that, written in a specification, is read back as an equal value."""
    name, default = parameter.name, parameter.default
    if type(default) not in SIMPLE:
        return False
    try:
        settings = Spec.parse(f"{kind}:{name}={default}").settings
        return settings.keys() == {name} and bool(converted(kind, spelled, factory, name, settings[name]) == default)
    except InputError:
        return False


def converted(kind: str, spelled: str, factory: Callable[..., Any], parameter: str, value: str) -> object:
    """Return a setting converted by its parameter's annotation, or else by the type of its default."""
    owner = factory.__init__ if inspect.isclass(factory) else factory
    default = type(parameters_of(factory)[parameter].default)
    try:
        hint = get_type_hints(owner, include_extras=True).get(parameter, default if default in SIMPLE else str)
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        reason = " ".join(error.errors()[0]["msg"].split())
        raise InputError(
            f"{kind} '{spelled}': {parameter}={shortened(value)} is refused: {reason.removeprefix('Value error, ')}"
        ) from None
    except Exception as error:  # of somebody's annotation
        reason = failure_text(error).partition(". ")[0]
        raise InputError(
            f"{kind} '{spelled}': {parameter}={shortened(value)} cannot be converted by the annotations there "
            f"({reason}): annotate it with bool, int, float or str"
        ) from None
