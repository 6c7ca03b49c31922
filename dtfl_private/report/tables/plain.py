"""Tables for the terminal."""

from rich import box
from rich.table import Table
from rich.text import Text

from dtfl_private.printable import printable


def plain_table(title: str, *columns: str, right: bool = True) -> Table:
    """Return an empty table in the house style; all columns but the first are right-aligned unless told otherwise."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for position, column in enumerate(columns):
        table.add_column(column, justify="right" if right and position else "left")
    return table


def as_printed(text: str) -> Text:
    """Return a text of unknown origin as a cell: no markup, nothing that steers the terminal."""
    return Text(printable(text))
