"""Tables that are shown in the terminal and as Markdown, from the same rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.table import Table

from dtfl_private.report.tables.markdown import markdown_cell, markdown_table
from dtfl_private.report.tables.plain import as_printed, plain_table


@dataclass(frozen=True, kw_only=True)
class Titled:
    """A table in words.

    Attributes:
        title: what its figures are.
        columns: their headings.
        rows: a cell for each column; text in them may be anybody's.
        keys: how many of the first columns say what a row is of.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    keys: int = 1


def terminal_table(one: Titled) -> Table:
    """Return it for the terminal."""
    table = plain_table(one.title, *one.columns, keys=one.keys)
    for row in one.rows:
        table.add_row(*map(as_printed, row))
    return table


def titled_markdown(tables: Iterable[Titled]) -> str:
    """Return tables as Markdown, each below its title."""
    lines: list[str] = []
    for one in tables:
        lines += [markdown_cell(one.title), "", *markdown_table(one.columns, one.rows)]
    return "".join(f"{line}\n" for line in lines)
