"""What there is to measure without an attack: the table of ``list measures``."""

from collections.abc import Mapping

from rich.table import Table

from dtfl_private.leakage.measures.base import Measure
from dtfl_private.plugins.documentation import summary
from dtfl_private.report.tables.plain import plain_table


def measures_table(measures: Mapping[str, Measure]) -> Table:
    """Return the table of ``list measures``."""
    table = plain_table("measures", "name", "", "", right=False)
    table.columns[0].no_wrap = True
    for name, measure in measures.items():
        table.add_row(name, "what it does", summary(type(measure)))
        table.add_row("", "says", measure.facts.says)
        table.add_row("", "does not say", measure.facts.does_not_say)
        table.add_row("", "source", measure.facts.source)
        table.add_section()
    table.caption = "figures, units and costs: docs/reference/measures.md"
    table.caption_justify = "left"
    return table
