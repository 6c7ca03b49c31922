"""What attacks reached, tier by tier: a table for the terminal and a picture."""

import io
from collections.abc import Iterable, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.table import Table

from dtfl_private.leakage.baselines import BASELINES
from dtfl_private.leakage.metrics import Metric, find_metric
from dtfl_private.leakage.result import Result
from dtfl_private.report.tables import plain_table

# How far lines stand apart, so that their intervals do not hide each other; in tiers.
APART = 0.06


def leakage_table(results: Sequence[Result], *, title: str) -> Table:
    """Return a table: a row for each tier and attack, a column for each metric, with 95 % intervals.

    Below the attacks of a tier stand the trivial guesses and, where it was run, what the attack reached undefended.
    """
    metrics = list(dict.fromkeys(result.metric for result in results))
    table = plain_table(title, "tier", "cut", "attack", "n", *(find_metric(name).label for name in metrics))
    table.columns[2].justify = "left"
    for tier in sorted({result.tier for result in results}):
        of_tier = [result for result in results if result.tier == tier]
        cut = "x".join(map(str, of_tier[0].cut))
        for position, (name, cells) in enumerate(_rows(of_tier).items()):
            counts = {result.n for result in of_tier if label(result) == name}
            shown = (str(tier), cut) if position == 0 else ("", "")
            style = None if counts else "dim"
            n = "-".join(str(count) for count in sorted({min(counts), max(counts)})) if counts else ""
            table.add_row(*shown, name, n, *(cells.get(metric, "") for metric in metrics), style=style)
        table.add_section()
    seeds = "-".join(str(count) for count in sorted({result.seeds for result in results}))
    table.caption = (
        f"mean [95% bootstrap interval over images and seeds]; seeds: {seeds or 'none'}; n: images or records"
    )
    table.caption_justify = "left"
    return table


def label(result: Result) -> str:
    """Return the name of an attack for people: with "not adaptive" where it did not use the defense's sampler."""
    return result.source if result.adaptive else f"{result.source}, not adaptive"


def _rows(results: Iterable[Result]) -> dict[str, dict[str, str]]:
    """Return the cells of one tier's rows, by row and metric: attacks, then the guesses and undefended values."""
    attacks: dict[str, dict[str, str]] = {}
    beside: dict[str, dict[str, str]] = {}
    for result in results:
        metric = find_metric(result.metric)
        attacks.setdefault(label(result), {})[result.metric] = _interval(metric, result)
        if result.undefended is not None:
            cells = beside.setdefault(f"  {label(result)}, undefended", {})
            cells[result.metric] = f"{result.undefended:.{metric.digits}f}"
        if result.baseline is not None:
            cells = beside.setdefault(f"  guess: {result.baseline_name or 'trivial'}", {})
            cells[result.metric] = f"{result.baseline:.{metric.digits}f}"
    return attacks | beside


def _interval(metric: Metric, result: Result) -> str:
    value, low, high = (f"{figure:.{metric.digits}f}" for figure in (result.value, result.ci_low, result.ci_high))
    return f"{value} \\[{low}, {high}]"  # rich would read [...] as a style


def leakage_picture(results: Sequence[Result], metric: str, *, title: str) -> bytes:
    """Return a PNG picture of one metric over the tiers: a line with 95 % intervals for each attack.

    Trivial guesses are grey: those with results of their own, and those that stand beside an attack's. Dotted: what
    an attack reached undefended.

    Raises:
        ValueError: there are no results with this metric.
    """
    chosen = [result for result in results if result.metric == metric]
    if not chosen:
        raise ValueError(f"there are no results with the metric {metric!r}")
    # A Figure of its own leaves no global state behind, as pyplot would.
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(7, 3.6), layout="constrained")
        axes = figure.subplots()
        _attacks(axes, [result for result in chosen if result.source not in BASELINES])
        _guesses(axes, chosen)
        found = find_metric(metric)
        axes.set(xlabel="tier m (client modules)", ylabel=f"{found.label} ({found.exposing}: leaks more)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        figure.legend(loc="outside right upper", fontsize=8)
        figure.suptitle(title.replace("$", r"\$"))
        picture = io.BytesIO()
        figure.savefig(picture, dpi=150, format="png")
    return picture.getvalue()


def _attacks(axes: Axes, results: Sequence[Result]) -> None:
    names = list(dict.fromkeys(label(result) for result in results))
    for number, name in enumerate(names):
        own = sorted((result for result in results if label(result) == name), key=lambda result: result.tier)
        aside = (number - (len(names) - 1) / 2) * APART
        tiers = np.array([result.tier for result in own]) + aside
        values = np.array([result.value for result in own])
        below = values - [result.ci_low for result in own]
        above = [result.ci_high for result in own] - values
        colour = f"C{number}"
        axes.errorbar(tiers, values, [below, above], color=colour, marker=".", capsize=3, linewidth=1.2, label=name)
        undefended = [(tier, result.undefended) for tier, result in zip(tiers, own, strict=True)]
        if any(value is not None for _, value in undefended):
            points = [(tier, value) for tier, value in undefended if value is not None]
            axes.plot(*zip(*points, strict=True), ":", color=colour, marker=".", label=f"{name}, undefended")


def _guesses(axes: Axes, results: Sequence[Result]) -> None:
    """Draw trivial guesses in grey, each with a line style of its own."""
    values: dict[str, dict[int, float]] = {}
    for result in results:
        if result.source in BASELINES:
            values.setdefault(result.source, {})[result.tier] = result.value
    for result in results:
        name = result.baseline_name or "trivial guess"
        if result.baseline is not None and name not in BASELINES.keys() & {other.source for other in results}:
            values.setdefault(name, {})[result.tier] = result.baseline
    for (name, by_tier), style in zip(values.items(), ("--", "-.", ":", (0, (5, 1)), (0, (1, 1))), strict=False):
        tiers = sorted(by_tier)
        heights = [by_tier[tier] for tier in tiers]
        axes.plot(tiers, heights, linestyle=style, color="grey", marker="x", markersize=4, label=f"guess: {name}")
