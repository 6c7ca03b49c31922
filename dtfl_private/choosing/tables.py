"""Tables of a search for the terminal."""

from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from dtfl_private.choosing.words import (
    assumed_lines,
    difference_row,
    outcome_text,
    standing_columns,
    standing_rows,
    verdict_of,
)
from dtfl_private.report.tables.plain import as_printed, plain_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from dtfl_private.choosing.trial import Standing
    from dtfl_private.choosing.written_tuning import Tuning


def tuning_output(tuning: "Tuning") -> list[RenderableType]:
    """Return what is shown of a search that is done."""
    rules = tuning.request.rules
    shown: list[RenderableType] = [_standings("frontier: no whole trial is better in all", tuning.frontier, tuning)]
    if tuning.misses:
        shown.append(_standings("nearest misses", tuning.misses, tuning))
    for one in tuning.audits:
        table = plain_table("what the search saw, and what a fresh audit sees", "", "search", "fresh", "difference")
        for difference in one.differences:
            table.add_row(*map(as_printed, difference_row(difference)))
        shown += [table, as_printed(verdict_of(one, rules))]
    said = [*assumed_lines(tuning.request.config), outcome_text(tuning)]
    return [*shown, Text(), *map(as_printed, said)]


def _standings(title: str, stands: "Sequence[Standing]", tuning: "Tuning") -> "Table":
    limits = tuning.request.limits
    table = plain_table(title, *standing_columns(limits))
    for row in standing_rows(stands, limits):
        table.add_row(*map(as_printed, row))
    return table
