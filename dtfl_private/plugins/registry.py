"""Entry points to objects: with `own_objects`, the only module that looks outside the core.

One spelling for all plug-ins, ``NAME[:key=value[,key=value...]]``: the name is looked up in the group's entry points
(hyphens, underscores and capitals do not matter), the keys are checked against the plug-in's own parameters and
converted by their annotations. A user's own plug-in that no package offers is written ``package.module:function`` in
the place of the name; it is imported only where the caller says that it may be (see `own_objects`).
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from dtfl_private.errors import InputError, comparable, shortened, unknown_name
from dtfl_private.plugins.documentation import summary
from dtfl_private.plugins.own_objects import (
    NOTHING_ALLOWED,
    OBJECT_PATH,
    Allowed,
    failure_text,
    failures_named,
    import_object,
    require_made,
)

GROUPS = {
    "model": "dtfl_private.models",
    "dataset": "dtfl_private.datasets",
    "partition": "dtfl_private.partitions",
    "method": "dtfl_private.methods",
    "scheduler": "dtfl_private.schedulers",
    "defense": "dtfl_private.defenses",
    "attack": "dtfl_private.attacks",
}

# Parameters that the core supplies to plug-ins of a kind, hence not settings of the user.
CORE_PARAMETERS: Mapping[str, frozenset[str]] = {
    "model": frozenset({"input_shape", "classes", "norm"}),
    "dataset": frozenset({"data_dir", "download"}),
}

# Types whose values can be written in a specification: of defaults that are recorded, and of unannotated parameters.
SIMPLE = (bool, int, float, str)


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A plug-in as the user wrote it: a name and unconverted settings; key "" stands for a value without a key."""

    name: str
    settings: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> "Spec":
        """Read ``NAME[:key=value[,key=value...]]``."""
        name, _, rest = text.strip().partition(":")
        settings: dict[str, str] = {}
        for position, item in enumerate(rest.split(",") if rest else []):
            key, equals, value = item.partition("=")
            key, value = (key.strip().replace("-", "_"), value.strip()) if equals else ("", key.strip())
            if not value or (not equals and position > 0) or key in settings:
                raise InputError(f"'{shortened(text)}' is not of the form NAME[:key=value[,key=value...]]")
            settings[key] = value
        if not name:
            raise InputError(f"'{shortened(text)}' has no name: expected NAME[:key=value[,key=value...]]")
        return cls(name=name.strip(), settings=settings)


@cache
def installed(kind: str) -> Mapping[str, EntryPoint]:
    """Return the installed plug-ins of a kind ("model", "defense", ...) by name, sorted."""
    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=GROUPS[kind]), key=lambda point: point.name):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise InputError(f"two installed packages offer {kind} '{point.name}': {other.value} and {point.value}")
    return found


def find(kind: str, name: str) -> EntryPoint:
    """Return the plug-in of this kind and name, or raise `InputError` with the nearest known name."""
    for known, point in installed(kind).items():
        if comparable(known) == comparable(name):
            return point
    raise unknown_name(kind, name, installed(kind))


def is_object_path(kind: str, text: str) -> bool:
    """Whether a specification names an object by its module (``package.module:function``), not by a registered name."""
    name = comparable(text.strip().partition(":")[0].strip())
    registered = any(comparable(known) == name for known in installed(kind))
    return not registered and name != "object" and OBJECT_PATH.fullmatch(text.strip()) is not None


def named_object(kind: str, text: str) -> Allowed:
    """Return what whoever wrote a specification by hand thereby allows: the object that it names by its module.

    Only for what was typed on the command line or stands in a Python program, never for what was read from a file.
    """
    return frozenset({parse(kind, text).name}) if is_object_path(kind, text) else NOTHING_ALLOWED


def parse(kind: str, text: str) -> Spec:
    """Read a specification of this kind; the name of an object by its module is ``package.module:function``."""
    if not is_object_path(kind, text):
        return Spec.parse(text)
    match = OBJECT_PATH.fullmatch(text.strip())
    assert match is not None
    settings = Spec.parse(f"own:{match[2]}").settings if match[2] is not None else {}
    return Spec(name=match[1], settings=settings)


def canonical(kind: str, text: str) -> str:
    """Return a specification with its name spelled as it is registered."""
    if is_object_path(kind, text):
        return text.strip()
    name, colon, rest = text.strip().partition(":")
    return find(kind, name.strip()).name + colon + rest


def _load(kind: str, point: EntryPoint) -> Callable[..., Any]:
    try:
        factory: Callable[..., Any] = point.load()
    except (ImportError, AttributeError) as error:
        raise InputError(f"{kind} '{point.name}' ({point.value}) cannot be loaded: {error}") from None
    return factory


def _factory(kind: str, name: str, allowed: Allowed) -> tuple[str, Callable[..., Any]]:
    """Return a plug-in's name as it is to be written, and the plug-in: registered, or an object by its module."""
    if is_object_path(kind, name):
        return name, import_object(kind, name, allowed, installed(kind))
    point = find(kind, name)
    return point.name, _load(kind, point)


def explicit(kind: str, text: str, *, allowed: Allowed = NOTHING_ALLOWED) -> str:
    """Return a specification with every setting written out, defaults included.

    A default that would not be read back as the same value (a tuple, a class, a text with a comma) is left out.
    ``allowed`` is as for `create`.
    """
    spec = parse(kind, text)
    spelled, factory = _factory(kind, spec.name, allowed)
    settings = {}
    first = True
    for name, parameter in _parameters(factory).items():
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
    return f"{spelled}:{written}" if written else spelled


def _parameters(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
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


def _takes_anything(factory: Callable[..., Any]) -> bool:
    kinds = {parameter.kind for parameter in inspect.signature(factory).parameters.values()}
    return inspect.Parameter.VAR_KEYWORD in kinds


def _is_written(kind: str, spelled: str, factory: Callable[..., Any], parameter: inspect.Parameter) -> bool:
    """Whether a parameter has a default that, written in a specification, is read back as an equal value."""
    name, default = parameter.name, parameter.default
    if type(default) not in SIMPLE:
        return False
    try:
        settings = Spec.parse(f"{kind}:{name}={default}").settings
        return settings.keys() == {name} and bool(_convert(kind, spelled, factory, name, settings[name]) == default)
    except InputError:
        return False


def _convert(kind: str, spelled: str, factory: Callable[..., Any], parameter: str, value: str) -> object:
    """Return a setting converted by its parameter's annotation, or else by the type of its default."""
    owner = factory.__init__ if inspect.isclass(factory) else factory
    default = type(_parameters(factory)[parameter].default)
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
    if spec.name == "object":
        raise InputError(f"{kind} '{shown}' was an object passed from Python: pass it to dtfl_private.train again")
    spelled, factory = _factory(kind, spec.name, allowed)
    own = is_object_path(kind, text)
    if own or not _takes_anything(factory):  # a plug-in asks for what it needs: a network without norms takes none
        given = {name: value for name, value in given.items() if name in _parameters(factory)}
    keys = [name for name in _parameters(factory) if name not in given]
    arguments: dict[str, object] = {}
    for key, value in spec.settings.items():
        parameter = key or (keys[0] if keys else "")
        if not keys:
            raise InputError(f"{kind} '{spelled}' takes no settings, but '{shown}' gives '{shortened(key or value)}'")
        if parameter not in keys:
            raise unknown_name(f"setting of {kind} '{spelled}'", key, keys)
        if parameter in arguments:
            raise InputError(f"{kind} '{shown}' gives '{parameter}' twice")
        arguments[parameter] = _convert(kind, spelled, factory, parameter, value)
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
    for name, parameter in _parameters(factory).items():
        if parameter.default is inspect.Parameter.empty and name not in present:
            return name
    return None


def described(kind: str) -> list[tuple[str, str, str]]:
    """Return (name, settings with defaults, first line of the docstring) of every installed plug-in of a kind."""
    rows = []
    for name, point in installed(kind).items():
        factory = _load(kind, point)
        rows.append((name, _settings_text(kind, factory), summary(factory)))
    return rows


def _settings_text(kind: str, factory: Callable[..., Any]) -> str:
    parts = []
    for name, parameter in _parameters(factory).items():
        if name not in CORE_PARAMETERS.get(kind, ()):
            default = "" if parameter.default is inspect.Parameter.empty else f"={parameter.default}"
            parts.append(name + default)
    return ", ".join(parts)
