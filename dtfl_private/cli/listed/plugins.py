"""What `list` shows of the installed plug-ins of a kind."""

from dtfl_private.cli.listed.built_in import built_in
from dtfl_private.cli.listed.from_code import facts_from_code
from dtfl_private.plugins.installed import installed
from dtfl_private.report.tables.facts import Facts


def listed_plugins(kind: str) -> dict[str, Facts]:
    """Return what is to be said of every installed plug-in, by name; only what is not recorded is imported.

    Raises:
        InputError: a plug-in of another package cannot be imported.
    """
    points, recorded = installed(kind), built_in(kind)
    unknown = {name: point for name, point in points.items() if point.value not in recorded}
    if unknown and kind == "defense":  # recorded ones may exclude them
        unknown = dict(points)
    found = facts_from_code(kind, unknown) if unknown else {}
    return {name: found[name] if name in found else recorded[point.value] for name, point in points.items()}
