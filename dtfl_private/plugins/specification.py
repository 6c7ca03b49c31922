"""How a plug-in is written: NAME[:key=value[,key=value...]], or package.module:function in the place of the name.

A defense may have a rule after it, ``NAME[:key=value,...]@RULE``, which says at which clients it acts; what a rule is
`dtfl_private.protection.defense_rule` says. Here it is only set apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dtfl_private.errors import InputError, comparable, shortened
from dtfl_private.plugins.installed import find, installed
from dtfl_private.plugins.own_objects import (
    NOTHING_ALLOWED,
    OBJECT_PATH,
    Allowed,
)


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


# Kinds of plug-ins that may have a rule.
RULED = frozenset({"defense"})


def without_rule(kind: str, text: str) -> tuple[str, str]:
    """Return a specification without its rule, and the rule with the ``@`` that begins it; "" without one."""
    if kind not in RULED:
        return text, ""
    spec, at, rule = text.partition("@")
    return spec.rstrip(), at + rule.strip()


def with_settings(kind: str, text: str, changes: Mapping[str, object]) -> str:
    """Return a specification with some settings changed or added."""
    spec = parse(kind, text)
    settings = {**spec.settings, **changes}
    return f"{spec.name}:{','.join(f'{name}={value}' for name, value in settings.items())}"


def is_object_path(kind: str, text: str) -> bool:
    """Whether a specification names an object by its module (``package.module:function``), not by a registered name."""
    text, _ = without_rule(kind, text)
    name = comparable(text.strip().partition(":")[0].strip())
    registered = any(comparable(known) == name for known in installed(kind))
    return not registered and name != "object" and OBJECT_PATH.fullmatch(text.strip()) is not None


def named_object(kind: str, text: str) -> Allowed:
    """Return what whoever wrote a specification by hand thereby allows: the object that it names by its module.

    Only for what was typed on the command line or stands in a Python program, never for what was read from a file.
    """
    return frozenset({parse(kind, text).name}) if is_object_path(kind, text) else NOTHING_ALLOWED


def parse(kind: str, text: str) -> Spec:
    """Read a specification of this kind, but for its rule; an object's name is ``package.module:function``."""
    text, _ = without_rule(kind, text)
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
    spec, rule = without_rule(kind, text)
    name, colon, rest = spec.strip().partition(":")
    return find(kind, name.strip()).name + colon + rest + rule
