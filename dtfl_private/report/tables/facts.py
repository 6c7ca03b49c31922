"""The tables of ``list``: things by name, with what is to be said of each, as columns or as a block of lines."""

from collections.abc import Mapping, Sequence

from rich.table import Table

from dtfl_private.report.tables.plain import plain_table

Facts = Mapping[str, str]
"""What is to be said of one thing: texts by their titles, in the order in which they are shown."""


def columns_table(title: str, columns: Sequence[str], things: Mapping[str, Facts], *, caption: str = "") -> Table:
    """Return a table of a row for each thing, with its name and a column for each title."""
    table = plain_table(title, "name", *columns, right=False)
    for name, facts in things.items():
        table.add_row(name, *(facts[column] for column in columns))
    return _captioned(table, caption)


def blocks_table(title: str, things: Mapping[str, Facts], *, caption: str = "") -> Table:
    """Return a table of a block for each thing, with a line for each title; readable on a narrow terminal."""
    table = plain_table(title, "", "", "", right=False)
    table.show_header = False
    for name, facts in things.items():
        for position, (about, text) in enumerate(facts.items()):
            table.add_row("" if position else name, about, text)
        table.add_section()
    return _captioned(table, caption)


def _captioned(table: Table, caption: str) -> Table:
    table.caption = caption or None
    table.caption_justify = "left"
    return table
