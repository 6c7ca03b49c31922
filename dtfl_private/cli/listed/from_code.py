"""What is to be said of plug-ins, from their code. Most of it needs torch, so that it is imported here when needed."""

from collections.abc import Mapping
from importlib.metadata import EntryPoint

from dtfl_private.report.tables.facts import Facts


def facts_from_code(kind: str, points: Mapping[str, EntryPoint]) -> dict[str, Facts]:
    """Return what `list` shows of plug-ins of a kind, by name; all of them are imported.

    Raises:
        InputError: one cannot be imported.
    """
    match kind:
        case "model":
            from dtfl_private.cli.listed.models import models_from_code as facts
        case "defense":
            from dtfl_private.cli.listed.defenses import defenses_from_code as facts
        case "attack":
            from dtfl_private.cli.listed.attacks import attacks_from_code as facts
        case _:
            return {name: _plain(kind, point) for name, point in points.items()}
    return facts(points)


def _plain(kind: str, point: EntryPoint) -> Facts:
    from dtfl_private.plugins.descriptions import description

    settings, summary = description(kind, point)
    return {"settings": settings, "what it is": summary}
