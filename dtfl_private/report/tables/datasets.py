"""The table of data sets: what they are, and whether their files are on this machine."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table

from dtfl_private.data.facts import DatasetFacts
from dtfl_private.errors import InputError
from dtfl_private.report.tables.plain import plain_table

UNKNOWN = "?"


def datasets_table(
    described: Sequence[tuple[str, str, str]], facts: Mapping[str, DatasetFacts | None], data_dir: Path | None
) -> Table:
    """Return a row per data set; nothing is decoded for it.

    Args:
        described: name, settings and summary of each.
        facts: fact sheets by name, None for loaders that have none.
        data_dir: where to look; None looks only where data sets look by themselves.
    """
    columns = ("name", "shape", "classes", "train", "test", "found here", "settings", "what it is")
    table = plain_table("datasets", *columns, right=False)
    for column in table.columns:
        column.overflow = "fold"  # a path that is cut short says nothing
    for name, settings, summary in described:
        sheet = facts[name]
        if sheet is None:
            table.add_row(name, *[UNKNOWN] * 5, settings, summary)
            continue
        found = _found(sheet, data_dir)
        table.add_row(name, sheet.shape, sheet.classes, sheet.train, sheet.test, found, settings, summary)
    table.caption = "looked in " + ("the data sets' own places" if data_dir is None else f"'{data_dir}'")
    table.caption += ", settings follow the name: NAME:key=value,..."
    table.caption_justify = "left"
    return table


def _found(sheet: DatasetFacts, data_dir: Path | None) -> str:
    try:
        where = sheet.look(data_dir)
    except (InputError, OSError) as error:
        return f"no: {error}"
    return f"yes, {where}" if where else "no"
