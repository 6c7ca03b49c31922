"""The list command. What a table shows is imported when it is asked for: some kinds need torch, others do not."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dtfl_private.cli.command import GroupedCommand
from dtfl_private.errors import InputError, unknown_name

if TYPE_CHECKING:
    from rich.table import Table

    from dtfl_private.protection.base import Defense

Listing = Callable[[Path | None], "Iterable[Table]"]
"""From the folder of data to the tables to show."""


def _models(_: Path | None) -> "Iterator[Table]":
    from dtfl_private.cli.listed_models import listed_models
    from dtfl_private.report.tables.networks import models_table

    yield models_table(listed_models())


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


def _defenses(_: Path | None) -> "Iterator[Table]":
    from dtfl_private.plugins.descriptions import described
    from dtfl_private.report.tables.privacy import defenses_table

    rows = described("defense")
    yield defenses_table(rows, _defenses_by_default(name for name, _, _ in rows))


def _defenses_by_default(names: Iterable[str]) -> "dict[str, Defense]":
    """Return the defenses that need no settings, by name."""
    from dtfl_private.plugins.registry import create

    found = {}
    for name in names:
        with suppress(InputError):  # it has a setting without a default
            found[name] = create("defense", name)
    return found


def _attacks(_: Path | None) -> "Iterator[Table]":
    from dtfl_private.cli.listed_attacks import listed_attacks
    from dtfl_private.report.tables.attacks import attacks_table

    yield attacks_table(listed_attacks())


def _adversaries(_: Path | None) -> "Iterator[Table]":
    from dtfl_private.report.tables.attacks import adversaries_table

    yield adversaries_table()


def _measures(_: Path | None) -> "Iterator[Table]":
    from dtfl_private.leakage.measures.registry import MEASURES
    from dtfl_private.report.tables.measures import measures_table

    yield measures_table(MEASURES)


def _plugins(kind: str) -> Listing:
    """Return the listing of a kind of plug-ins by name, settings and summary."""

    def listing(_: Path | None) -> "Iterator[Table]":
        from dtfl_private.plugins.descriptions import described
        from dtfl_private.report.tables.plain import plain_table

        table = plain_table(f"{kind}s", "name", "settings", "what it is", right=False)
        for row in described(kind):
            table.add_row(*row)
        yield table

    return listing


LISTINGS: Mapping[str, Listing] = {
    "models": _models,
    "datasets": _datasets,
    "partitions": _plugins("partition"),
    "methods": _plugins("method"),
    "schedulers": _plugins("scheduler"),
    "profiles": _profiles,
    "defenses": _defenses,
    "attacks": _attacks,
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
