"""Tables for the terminal."""

from rich.table import Table
from rich.text import Text

from dtfl_private.printable import printable
from dtfl_private.report.tables.fitting import FittedTable


def plain_table(title: str, *columns: str, right: bool = True, keys: int = 1) -> Table:
    """Return an empty table in the house style; all columns but the first are right-aligned unless told otherwise.

    It fits any console, see `FittedTable`; its first ``keys`` columns are repeated where it is split.
    """
    table = FittedTable(title=title, keys=keys)
    for position, column in enumerate(columns):
        table.add_column(column, justify="right" if right and position else "left")
    return table


def as_printed(text: str) -> Text:
    """Return a text of unknown origin as a cell: no markup, nothing that steers the terminal."""
    return Text(printable(text))
