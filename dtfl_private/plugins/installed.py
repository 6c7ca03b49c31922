"""What is installed: the entry points of each kind of plug-in, by name."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points

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


@cache
def _points() -> Sequence[EntryPoint]:
    """Return the entry points of all kinds: to read them takes as long as to read those of one."""
    everything = entry_points()
    return [point for group in GROUPS.values() for point in everything.select(group=group)]


@cache
def installed(kind: str) -> Mapping[str, EntryPoint]:
    """Return the installed plug-ins of a kind ("model", "defense", ...) by name, sorted."""
    found: dict[str, EntryPoint] = {}
    own = (point for point in _points() if point.group == GROUPS[kind])
    for point in sorted(own, key=lambda point: point.name):
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
