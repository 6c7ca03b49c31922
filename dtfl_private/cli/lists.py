"""The list command. What a table shows is imported when it is asked for: torch only for plug-ins of other packages."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dtfl_private.cli.command import GroupedCommand
from dtfl_private.errors import unknown_name

if TYPE_CHECKING:
    from rich.table import Table

Listing = Callable[[Path | None], "Iterable[Table]"]
"""From the folder of data to the tables to show."""


def _columns(kind: str, *columns: str, caption: str = "") -> Listing:
    """Return the listing of a kind of plug-ins as a table of a row each."""

    def listing(_: Path | None) -> "Iterator[Table]":
        from dtfl_private.cli.listed.plugins import listed_plugins
        from dtfl_private.report.tables.facts import columns_table

        yield columns_table(f"{kind}s", columns, listed_plugins(kind), caption=caption)

    return listing


def _blocks(kind: str, *, caption: str) -> Listing:
    """Return the listing of a kind of plug-ins as a table of a block of lines each."""

    def listing(_: Path | None) -> "Iterator[Table]":
        from dtfl_private.cli.listed.plugins import listed_plugins
        from dtfl_private.report.tables.facts import blocks_table

        yield blocks_table(f"{kind}s", listed_plugins(kind), caption=caption)

    return listing


def _datasets(data_dir: Path | None) -> "Iterator[Table]":
    from dtfl_private.data.facts import facts_of
    from dtfl_private.plugins.descriptions import described
    from dtfl_private.plugins.installed import find
    from dtfl_private.report.tables.datasets import datasets_table

    rows = described("dataset")
    facts = {name: facts_of(find("dataset", name).load()) for name, _, _ in rows}
    yield datasets_table(rows, facts, data_dir)


def _profiles(_: Path | None) -> "Iterator[Table]":
    from dtfl_private.report.tables.profiles import profiles_table
    from dtfl_private.simulation.clients.profiles import PROFILE_SETS, load_profiles

    for name in PROFILE_SETS:
        yield profiles_table(name, load_profiles(name), "mbit")


def _adversaries(_: Path | None) -> "Iterator[Table]":
    from dtfl_private.report.tables.adversaries import adversaries_table

    yield adversaries_table()


def _measures(_: Path | None) -> "Iterator[Table]":
    from dtfl_private.cli.listed.built_in import built_in
    from dtfl_private.report.tables.facts import blocks_table

    yield blocks_table("measures", built_in("measure"), caption="figures, units and costs: docs/reference/measures.md")


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
    "defenses": _blocks("defense", caption="give several by repeating --defense: they act in that order"),
    "attacks": _blocks("attack", caption="what they need, adversaries have or have not: see `list adversaries`"),
    "adversaries": _adversaries,
    "measures": _measures,
}


@click.command(name="list", cls=GroupedCommand)
@click.argument("kind", metavar="|".join(LISTINGS))
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="where to look for data sets' files")
def list_(kind: str, data_dir: Path | None) -> None:
    """List models, data sets, schedulers and all else there is to choose.

    Built in, or installed by other packages as entry points.
    """
    from dtfl_private.cli.terminal import open_console

    if kind not in LISTINGS:
        raise unknown_name("list", kind, LISTINGS)
    console = open_console()
    for shown in LISTINGS[kind](data_dir):
        console.print(shown)
