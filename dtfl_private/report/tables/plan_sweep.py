"""Tables of a sweep without training: each line's figures over the horizontal axis."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table

from dtfl_private.report.comparison.means import Mean
from dtfl_private.report.plan_sweep import Figure, PlanSweep
from dtfl_private.report.tables.titled import Titled, terminal_table, titled_markdown

TITLES: dict[Figure, str] = {
    "regret": "regret, % (mean ± half the 95 % interval)",
    "speedup": "times as fast as {against} (mean ± half the 95 % interval)",
    "tier_accuracy": "clients in the oracle's tier, % (mean ± half the 95 % interval)",
}
# What it is to be better or worse than the reference, and what the difference is called.
BETTER: dict[Figure, tuple[str, str, str]] = {
    "regret": ("less", "more", "saves against"),
    "speedup": ("faster", "slower", "adds to"),
}


def plan_sweep_tables(sweep: PlanSweep) -> list[Table]:
    """Return the tables of regret, or speed-up, by panel, and of it and tier accuracy by line."""
    return list(map(terminal_table, _tables(sweep)))


def plan_sweep_markdown(sweep: PlanSweep) -> str:
    """Return the same tables as Markdown."""
    return titled_markdown(_tables(sweep))


def _tables(sweep: PlanSweep) -> Iterator[Titled]:
    lines = len(sweep.curves)
    titles = {figure: TITLES[figure].format(against=sweep.against) for figure in (sweep.main, "tier_accuracy")}
    by_panel = f"{titles[sweep.main]}, over all lines of a panel, n = {sweep.seeds}; last rows: lines of {lines}"
    columns, *rows = panel_rows(sweep)
    yield Titled(title=by_panel, columns=columns, rows=rows, keys=len(sweep.panels))
    for figure, title in titles.items():
        columns, *rows = table_rows(sweep, figure)
        yield Titled(title=f"{title}, n = {sweep.seeds}", columns=columns, rows=rows, keys=len(sweep.apart))


def panel_rows(sweep: PlanSweep) -> Iterator[Sequence[str]]:
    """Yield the header, the mean of each panel, and in how many lines x is better or worse than the reference."""
    xs = sweep.curves[0].xs
    yield [*sweep.panels, *(f"{sweep.x} {value_text(x)}" for x in xs)]
    for row, column in dict.fromkeys((*(curve.values[key] for key in sweep.panels),) for curve in sweep.curves):
        yield [
            value_text(row),
            value_text(column),
            *(mean_text(sweep.panel_mean(row, column, x), sweep.main) for x in xs),
        ]
    counts = [sweep.against_reference(x) for x in xs]
    for place, what in enumerate(BETTER[sweep.main][:2]):
        yield [f"{what} than {value_text(sweep.reference)}", "", *(str(count[place]) for count in counts)]


def table_rows(sweep: PlanSweep, figure: Figure) -> Iterator[Sequence[str]]:
    """Yield the header and a row for each line; of the main figure also which x is best, and what it gains."""
    xs = sweep.curves[0].xs
    main = figure == sweep.main
    more = [f"best {sweep.x}", f"{BETTER[figure][2]} {value_text(sweep.reference)}"] if main else []
    yield [*sweep.apart, *(f"{sweep.x} {value_text(x)}" for x in xs), *more]
    for curve in sweep.curves:
        keys = [value_text(curve.values[key]) for key in sweep.apart]
        found = [mean_text(curve.mean(x, figure), figure) for x in xs]
        gained = mean_text(curve.gained(sweep.reference, curve.best()), figure)
        yield [*keys, *found, *([value_text(curve.best()), gained] if main else [])]


def mean_text(mean: Mean, figure: Figure) -> str:
    """Return a mean with half the width of its interval: a speed-up as it is, a share in per cent."""
    scale, digits = (1, 2) if figure == "speedup" else (100, 1)
    text = f"{scale * (mean.mean or 0.0):.{digits}f}"
    return text if mean.half_width is None else f"{text} ± {scale * mean.half_width:.{digits}f}"


def value_text(value: Any) -> str:
    """Return the value of a key in three digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
