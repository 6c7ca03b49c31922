"""The table of time, accuracy and leakage by tier: in the terminal and as Markdown."""

from collections.abc import Sequence

from rich.table import Table

from dtfl_private.leakage.metrics import find_metric
from dtfl_private.report.comparison.means import Mean
from dtfl_private.report.side_by_side import SideBySide, SideBySideRow
from dtfl_private.report.tables.comparison import BLANK, with_spread
from dtfl_private.report.tables.titled import Titled, terminal_table, titled_markdown


def side_by_side_tables(found: Sequence[SideBySide]) -> list[Table]:
    """Return a table for each attack."""
    return list(map(terminal_table, map(_table, found)))


def side_by_side_markdown(found: Sequence[SideBySide]) -> str:
    """Return the same tables as Markdown."""
    return titled_markdown(map(_table, found))


def _table(one: SideBySide) -> Titled:
    return Titled(title=side_by_side_title(one), columns=_header(one), rows=[_cells(one, row) for row in one.rows])


def side_by_side_title(one: SideBySide) -> str:
    """Return what the figures are, in one line."""
    label = find_metric(one.metric).label
    return f"{label} that {one.attack} reaches with auxiliary data '{one.aux}', mean over runs ± half the 95 % interval"


def time_label(one: SideBySide) -> str:
    """Return what the times are of."""
    if not one.targets:
        return "time of the run, s"
    return f"time to {' or '.join(f'{target:g}' for target in one.targets)}, s"


def leakage_text(mean: Mean | None) -> str:
    """Return a leakage with half its interval, or a blank."""
    if mean is None or mean.mean is None:
        return BLANK
    half = mean.half_width
    return f"{mean.mean:.2f}" if half is None else f"{mean.mean:.2f} ± {half:.2f}"


def _header(one: SideBySide) -> list[str]:
    return ["runs", "n", time_label(one), "accuracy", *(f"tier {tier}" for tier in one.tiers), "guess"]


def _cells(one: SideBySide, row: SideBySideRow) -> list[str]:
    guess = max(row.guess.values(), default=None)
    return [
        row.name,
        str(row.runs),
        with_spread(row.time_s),
        with_spread(row.accuracy, decimals=3),
        *(leakage_text(row.leakage.get(tier)) for tier in one.tiers),
        BLANK if guess is None else f"{guess:.2f}",
    ]
