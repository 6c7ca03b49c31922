"""Tables of a sweep without training: each line's figures over the horizontal axis."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table

from dtfl_private.report.comparison.means import Mean
from dtfl_private.report.plan_sweep import Figure, PlanSweep
from dtfl_private.report.tables.titled import Titled, terminal_table, titled_markdown

TITLES: dict[Figure, str] = {
    "regret": "regret, % (mean ± half the 95 % interval)",
    "tier_accuracy": "clients in the oracle's tier, % (mean ± half the 95 % interval)",
}


def plan_sweep_tables(sweep: PlanSweep) -> list[Table]:
    """Return the tables of regret by panel, and of regret and tier accuracy by line."""
    return list(map(terminal_table, _tables(sweep)))


def plan_sweep_markdown(sweep: PlanSweep) -> str:
    """Return the same tables as Markdown."""
    return titled_markdown(_tables(sweep))


def _tables(sweep: PlanSweep) -> Iterator[Titled]:
    lines = len(sweep.curves)
    by_panel = f"{TITLES['regret']}, over all lines of a panel, n = {sweep.seeds}; last rows: lines of {lines}"
    columns, *rows = panel_rows(sweep)
    yield Titled(title=by_panel, columns=columns, rows=rows, keys=len(sweep.panels))
    for figure, title in TITLES.items():
        columns, *rows = table_rows(sweep, figure)
        yield Titled(title=f"{title}, n = {sweep.seeds}", columns=columns, rows=rows, keys=len(sweep.apart))


def panel_rows(sweep: PlanSweep) -> Iterator[Sequence[str]]:
    """Yield the header, the regret of each panel, and in how many lines x has less or more than the reference."""
    xs = sweep.curves[0].xs
    yield [*sweep.panels, *(f"{sweep.x} {value_text(x)}" for x in xs)]
    for row, column in dict.fromkeys((*(curve.values[key] for key in sweep.panels),) for curve in sweep.curves):
        yield [value_text(row), value_text(column), *(percent(sweep.panel_mean(row, column, x)) for x in xs)]
    counts = [sweep.against_reference(x) for x in xs]
    for place, what in enumerate(("less", "more")):
        yield [f"{what} than {value_text(sweep.reference)}", "", *(str(count[place]) for count in counts)]


def table_rows(sweep: PlanSweep, figure: Figure) -> Iterator[Sequence[str]]:
    """Yield the header and a row for each line; of regret also which x is best, and what it saves."""
    xs = sweep.curves[0].xs
    regret = figure == "regret"
    more = [f"best {sweep.x}", f"saves against {value_text(sweep.reference)}"] if regret else []
    yield [*sweep.apart, *(f"{sweep.x} {value_text(x)}" for x in xs), *more]
    for curve in sweep.curves:
        keys = [value_text(curve.values[key]) for key in sweep.apart]
        found = [percent(curve.mean(x, figure)) for x in xs]
        best = [value_text(curve.best()), percent(curve.saved(sweep.reference, curve.best()))] if regret else []
        yield [*keys, *found, *best]


def percent(mean: Mean) -> str:
    """Return a mean share in per cent, with half the width of its interval."""
    text = f"{100 * (mean.mean or 0.0):.1f}"
    return text if mean.half_width is None else f"{text} ± {100 * mean.half_width:.1f}"


def value_text(value: Any) -> str:
    """Return the value of a key in three digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
