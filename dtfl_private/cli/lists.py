"""The list command. What a table shows is imported when it is asked for: torch only for plug-ins of other packages."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dtfl_private.cli.command import GroupedCommand
from dtfl_private.cli.completion import of_words
from dtfl_private.cli.output import output
from dtfl_private.errors import unknown_name

if TYPE_CHECKING:
    from rich.table import Table

    from dtfl_private.report.tables.facts import Facts


@dataclass(frozen=True, kw_only=True)
class Listed:
    """What is listed: tables for people, and the same for programs."""

    tables: "Sequence[Table]"
    document: Sequence[Mapping[str, Any]]


Listing = Callable[[Path | None], Listed]
"""From the folder of data to what is listed."""


def _named(things: "Mapping[str, Facts]") -> list[Mapping[str, Any]]:
    return [{"name": name, **facts} for name, facts in things.items()]


def _columns(kind: str, *columns: str, caption: str = "") -> Listing:
    """Return the listing of a kind of plug-ins as a table of a row each."""

    def listing(_: Path | None) -> Listed:
        from dtfl_private.cli.listed.plugins import listed_plugins
        from dtfl_private.report.tables.facts import columns_table

        things = listed_plugins(kind)
        table = columns_table(f"{kind}s", columns, things, caption=caption)
        return Listed(tables=[table], document=_named(things))

    return listing


def _blocks(kind: str, *, caption: str) -> Listing:
    """Return the listing of a kind of plug-ins as a table of a block of lines each."""

    def listing(_: Path | None) -> Listed:
        from dtfl_private.cli.listed.plugins import listed_plugins
        from dtfl_private.report.tables.facts import blocks_table

        things = listed_plugins(kind)
        return Listed(tables=[blocks_table(f"{kind}s", things, caption=caption)], document=_named(things))

    return listing


def _datasets(data_dir: Path | None) -> Listed:
    from dtfl_private.data.facts import facts_of
    from dtfl_private.plugins.descriptions import described
    from dtfl_private.plugins.installed import find
    from dtfl_private.report.tables.datasets import dataset_facts, datasets_table

    rows = described("dataset")
    sheets = {name: facts_of(find("dataset", name).load()) for name, _, _ in rows}
    things = dataset_facts(rows, sheets, data_dir)
    return Listed(tables=[datasets_table(things, data_dir)], document=_named(things))


def _profiles(_: Path | None) -> Listed:
    from dtfl_private.report.tables.profiles import engines_table, profiles_table
    from dtfl_private.simulation.clients.profiles import PROFILE_SETS, load_profiles

    sets = {name: load_profiles(name) for name in PROFILE_SETS}
    tables = [profiles_table(name, profiles, "mbit") for name, profiles in sets.items()]
    tables.append(engines_table(sets["devices"]))
    document = [{"set": name, **profile.model_dump()} for name, profiles in sets.items() for profile in profiles]
    return Listed(tables=tables, document=document)


def _adversaries(_: Path | None) -> Listed:
    from dtfl_private.protocol.adversaries import ADVERSARIES
    from dtfl_private.report.tables.adversaries import adversaries_table

    document = [{"name": one.name, "who": one.who, "has": sorted(one.has)} for one in ADVERSARIES.values()]
    return Listed(tables=[adversaries_table()], document=document)


def _measures(_: Path | None) -> Listed:
    from dtfl_private.cli.listed.built_in import built_in
    from dtfl_private.report.tables.facts import blocks_table

    things = built_in("measure")
    caption = "figures, units and costs: docs/reference/measures.md"
    return Listed(tables=[blocks_table("measures", things, caption=caption)], document=_named(things))


LISTINGS: Mapping[str, Listing] = {
    "models": _columns(
        *("model", "takes", "tiers", "params", "settings", "what it is", "source"),
        caption="tiers and parameters for 10 classes and the usual input (images 3x32x32)",
    ),
    "datasets": _datasets,
    "partitions": _columns("partition", "settings", "what it is"),
    "methods": _columns("method", "settings", "what it is"),
    "schedulers": _columns("scheduler", "settings", "what it is"),
    "profiles": _profiles,
    "defenses": _blocks(
        "defense",
        caption="give several by repeating --defense: they act in that order; NAME@tier<=2 acts in these tiers alone",
    ),
    "attacks": _blocks("attack", caption="what they need, adversaries have or have not: see `list adversaries`"),
    "adversaries": _adversaries,
    "measures": _measures,
}


@click.command(name="list", cls=GroupedCommand)
@click.argument("kind", metavar="|".join(LISTINGS), shell_complete=of_words(LISTINGS))
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="where to look for data sets' files")
def list_(kind: str, data_dir: Path | None) -> None:
    """List models, data sets, schedulers and all else there is to choose.

    Built in, or installed by other packages as entry points.
    """
    if kind not in LISTINGS:
        raise unknown_name("list", kind, LISTINGS)
    listed, answer = LISTINGS[kind](data_dir), output()
    answer.show(*listed.tables)
    answer.document(listed.document)
