"""From a specification to an object: with `own_objects`, all that looks outside the core.

The name is looked up in the group's entry points (hyphens, underscores and capitals do not matter); the keys are
checked against the plug-in's own parameters and converted by their annotations. A user's own plug-in that no package
offers is written ``package.module:function`` in the place of the name; it is imported only where the caller says that
it may be.
"""

import inspect
from collections.abc import Callable
from typing import Any

from dtfl_private.errors import InputError, shortened, unknown_name
from dtfl_private.plugins.factories import factory_of, parameters_of, takes_anything
from dtfl_private.plugins.own_objects import (
    NOTHING_ALLOWED,
    Allowed,
    failures_named,
    require_made,
)
from dtfl_private.plugins.settings import converted
from dtfl_private.plugins.specification import is_object_path, parse, without_rule


def create(kind: str, text: str, *, allowed: Allowed = NOTHING_ALLOWED, **given: object) -> Any:
    """Build the plug-in that ``text`` names.

    Args:
        kind: key of `GROUPS`.
        text: the user's specification.
        allowed: what it may name by its module; nothing, unless whoever calls knows who wrote the text.
        given: arguments that the core supplies; a user may not set them.

    Raises:
        InputError: unknown name or key, a value that the plug-in refuses, an object that is not allowed, or one that is
            not of this kind.
    """
    spec, shown = parse(kind, text), shortened(text)
    if rule := without_rule(kind, text)[1]:  # or else it would be dropped in silence
        raise InputError(f"{kind} '{shown}' has a rule ({shortened(rule)}), which nothing follows here: leave it out")
    if spec.name == "object":
        raise InputError(f"{kind} '{shown}' was an object passed from Python: pass it to dtfl_private.train again")
    spelled, factory = factory_of(kind, spec.name, allowed)
    own = is_object_path(kind, text)
    if own or not takes_anything(factory):  # a plug-in asks for what it needs: a network without norms takes none
        given = {name: value for name, value in given.items() if name in parameters_of(factory)}
    keys = [name for name in parameters_of(factory) if name not in given]
    arguments: dict[str, object] = {}
    for key, value in spec.settings.items():
        parameter = key or (keys[0] if keys else "")
        if not keys:
            raise InputError(f"{kind} '{spelled}' takes no settings, but '{shown}' gives '{shortened(key or value)}'")
        if parameter not in keys:
            raise unknown_name(f"setting of {kind} '{spelled}'", key, keys)
        if parameter in arguments:
            raise InputError(f"{kind} '{shown}' gives '{parameter}' twice")
        arguments[parameter] = converted(kind, spelled, factory, parameter, value)
    missing = _missing(factory, {*given, *arguments})
    if missing:
        raise InputError(f"{kind} '{spelled}' needs a value for '{missing}': write {spelled}:{missing}=VALUE")
    if not own:
        return factory(**given, **arguments)
    with failures_named(f"{kind} '{shown}' failed"):
        made = factory(**given, **arguments)
    require_made(kind, text, made)
    return made


def _missing(factory: Callable[..., Any], present: set[str]) -> str | None:
    for name, parameter in parameters_of(factory).items():
        if parameter.default is inspect.Parameter.empty and name not in present:
            return name
    return None
