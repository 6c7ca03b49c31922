"""What `list defenses` shows: each with its default settings, and what it cannot be combined with."""

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from importlib.metadata import EntryPoint

from dtfl_private.errors import InputError
from dtfl_private.plugins.descriptions import description
from dtfl_private.plugins.registry import create
from dtfl_private.privacy.compatibility import exclusions
from dtfl_private.protection.base import Defense
from dtfl_private.report.tables.facts import Facts


def defenses_from_code(points: Mapping[str, EntryPoint]) -> dict[str, Facts]:
    """Return what is to be said of defenses; what each excludes is looked for among these."""
    by_default = _by_default(points)
    found: dict[str, Facts] = {}
    for name, point in points.items():
        settings, summary = description("defense", point)
        found[name] = {"what it is": summary, "settings": settings or "none"}
        if name in by_default:
            found[name] = {**found[name], **_facts(by_default[name], by_default.values())}
    return found


def _by_default(names: Iterable[str]) -> dict[str, Defense]:
    """Return the defenses that need no settings, by name."""
    found = {}
    for name in names:
        with suppress(InputError):  # it has a setting without a default
            found[name] = create("defense", name)
    return found


def _facts(defense: Defense, others: Collection[Defense]) -> Facts:
    facts = defense.facts
    return {
        "protects": facts.protects,
        "guarantees": facts.guarantee,
        "costs": facts.cost,
        "attacker does not know": facts.attacker,
        "excludes": ", ".join(exclusions(defense, others)) or "nothing",
    }
