"""What `list attacks` shows."""

from collections.abc import Mapping
from importlib.metadata import EntryPoint

from dtfl_private.attacking.attack_goals import goal_of
from dtfl_private.attacking.base import Attack
from dtfl_private.plugins.descriptions import description
from dtfl_private.report.tables.facts import Facts


def attacks_from_code(points: Mapping[str, EntryPoint]) -> dict[str, Facts]:
    """Return what is to be said of attacks."""
    return {name: _facts(point) for name, point in points.items()}


def _facts(point: EntryPoint) -> Facts:
    settings, summary = description("attack", point)
    attack: type[Attack] = point.load()
    return {
        "what it does": summary,
        "settings": settings or "none",
        "is after": goal_of(attack),
        "needs": ", ".join(sorted(attack.facts.needs)),
        "source": attack.facts.source,
    }
