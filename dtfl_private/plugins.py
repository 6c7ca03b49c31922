"""Entry points to objects: the only module that looks outside the core.

One spelling for all plug-ins, ``NAME[:key=value[,key=value...]]``: the name is looked up in the group's entry points
(hyphens, underscores and capitals do not matter), the keys are checked against the plug-in's own parameters and
converted by their annotations.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from dtfl_private.errors import InputError, comparable, unknown_name

GROUPS = {
    "model": "dtfl_private.models",
    "dataset": "dtfl_private.datasets",
    "partition": "dtfl_private.partitions",
    "method": "dtfl_private.methods",
    "scheduler": "dtfl_private.schedulers",
    "defense": "dtfl_private.defenses",
    "attack": "dtfl_private.attacks",
}

# Parameters that the core supplies to plug-ins, hence not settings of the user.
CORE_PARAMETERS = frozenset({"input_shape", "classes", "norm", "data_dir", "download"})


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
                raise InputError(f"'{text}' is not of the form NAME[:key=value[,key=value...]]")
            settings[key] = value
        if not name:
            raise InputError(f"'{text}' has no name: expected NAME[:key=value[,key=value...]]")
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


def canonical(kind: str, text: str) -> str:
    """Return a specification with its name spelled as it is registered."""
    name, colon, rest = text.strip().partition(":")
    return find(kind, name.strip()).name + colon + rest


def _load(kind: str, point: EntryPoint) -> Callable[..., Any]:
    try:
        factory: Callable[..., Any] = point.load()
    except (ImportError, AttributeError) as error:
        raise InputError(f"{kind} '{point.name}' ({point.value}) cannot be loaded: {error}") from None
    return factory


def explicit(kind: str, text: str) -> str:
    """Return a specification with every setting written out, defaults included."""
    spec = Spec.parse(text)
    point = find(kind, spec.name)
    settings = {}
    first = True
    for name, parameter in inspect.signature(_load(kind, point)).parameters.items():
        if name in CORE_PARAMETERS:
            continue
        given = spec.settings.get(name)
        if first and given is None:
            given = spec.settings.get("")
        first = False
        if given is None and parameter.default not in (None, inspect.Parameter.empty):
            given = parameter.default
        if given is not None:
            settings[name] = given
    written = ",".join(f"{name}={value}" for name, value in settings.items())
    return f"{point.name}:{written}" if written else point.name


def _convert(factory: Callable[..., Any], parameter: str, value: str) -> object:
    owner = factory.__init__ if inspect.isclass(factory) else factory
    hint = get_type_hints(owner, include_extras=True).get(parameter, str)
    return TypeAdapter(hint).validate_python(value)


def create(kind: str, text: str, **given: object) -> Any:
    """Build the plug-in that ``text`` names.

    Args:
        kind: key of `GROUPS`.
        text: the user's specification.
        given: arguments that the core supplies; a user may not set them.

    Raises:
        InputError: unknown name or key, or a value that the plug-in refuses.
    """
    spec = Spec.parse(text)
    if spec.name == "object":
        raise InputError(f"{kind} '{text}' was an object passed from Python: pass it to dtfl_private.train again")
    point = find(kind, spec.name)
    factory = _load(kind, point)
    keys = [name for name in inspect.signature(factory).parameters if name not in given]
    arguments: dict[str, object] = {}
    for key, value in spec.settings.items():
        parameter = key or (keys[0] if keys else "")
        if not keys:
            raise InputError(f"{kind} '{point.name}' takes no settings, but '{text}' gives '{key or value}'")
        if parameter not in keys:
            raise unknown_name(f"setting of {kind} '{point.name}'", key, keys)
        if parameter in arguments:
            raise InputError(f"{kind} '{text}' gives '{parameter}' twice")
        try:
            arguments[parameter] = _convert(factory, parameter, value)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise InputError(f"{kind} '{point.name}': {parameter}={value} is refused: {reason}") from None
    missing = _missing(factory, {*given, *arguments})
    if missing:
        raise InputError(f"{kind} '{point.name}' needs a value for '{missing}': write {point.name}:{missing}=VALUE")
    return factory(**given, **arguments)


def _missing(factory: Callable[..., Any], present: set[str]) -> str | None:
    for name, parameter in inspect.signature(factory).parameters.items():
        if parameter.default is inspect.Parameter.empty and name not in present:
            return name
    return None


def described(kind: str) -> list[tuple[str, str, str]]:
    """Return (name, settings with defaults, first line of the docstring) of every installed plug-in of a kind."""
    rows = []
    for name, point in installed(kind).items():
        factory = _load(kind, point)
        summary = (inspect.getdoc(factory) or "").partition("\n")[0]
        rows.append((name, _settings_text(factory), summary))
    return rows


def _settings_text(factory: Callable[..., Any]) -> str:
    parts = []
    for name, parameter in inspect.signature(factory).parameters.items():
        if name not in CORE_PARAMETERS:
            default = "" if parameter.default is inspect.Parameter.empty else f"={parameter.default}"
            parts.append(name + default)
    return ", ".join(parts)
