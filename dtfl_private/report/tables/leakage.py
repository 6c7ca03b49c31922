"""What attacks reached, tier by tier: a table for the terminal and a picture."""

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from itertools import cycle

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.markup import escape
from rich.table import Table

from dtfl_private.leakage.baselines import BASELINES, ORACLES
from dtfl_private.leakage.metrics import find_metric
from dtfl_private.leakage.result import Result
from dtfl_private.report.pictures.saving import PictureForm, drawable, picture_bytes
from dtfl_private.report.tables.plain import plain_table

# What the table has room for, of the metrics of images.
OF_IMAGES = ("mse", "psnr", "ssim", "lpips")
SHOWN = ("psnr", "ssim", "ssim-worst-5", "lpips")
GUESS_STYLES = ("--", "-.", ":")
MARKERS = "osDv^"
# How far lines stand apart, so that their intervals do not hide each other; in tiers.
APART = 0.06


def leakage_table(results: Sequence[Result], *, title: str) -> Table:
    """Return a table: a row for each tier and attack, a column for each metric, with 95 % intervals.

    Below the attacks of a tier stand what they reached undefended, where that was run, and the trivial guesses. Of
    images, only the metrics of `SHOWN` are there; the others are for files.
    """
    found = list(dict.fromkeys(result.metric for result in results))
    metrics = [name for name in found if name in SHOWN or not name.startswith(OF_IMAGES)]
    table = plain_table(title, "tier", "attack", "n", *(find_metric(name).label for name in metrics))
    table.columns[1].justify = "left"
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    for tier in sorted({result.tier for result in results}):
        of_tier = [result for result in results if result.tier == tier]
        shown = f"{tier}\n{'x'.join(map(str, of_tier[0].cut))}"
        for name, row in _rows(of_tier).items():
            cells = (row.cells.get(metric, "") for metric in metrics)
            table.add_row(shown, escape(name), _range(row.counts), *cells, style="dim" if row.beside else None)
            shown = ""
        table.add_section()
    seeds = _range({result.seeds for result in results})
    table.caption = f"mean, below it its 95% interval over images and seeds; seeds: {seeds}; n: images or records"
    table.caption_justify = "left"
    return table


@dataclass
class _Row:
    """One line: records judged, and cells by metric; ``beside``: no attack, but what attacks are compared with."""

    beside: bool
    counts: set[int] = field(default_factory=set)
    cells: dict[str, str] = field(default_factory=dict)


def _rows(results: Sequence[Result]) -> dict[str, _Row]:
    """Return the rows of one tier by name: attacks, their undefended values, trivial guesses."""
    attacks: dict[str, _Row] = {}
    undefended: dict[str, _Row] = {}
    guesses: dict[str, _Row] = {}
    for result, attack in zip(results, labels(results), strict=True):
        digits = find_metric(result.metric).digits
        is_guess = result.source in BASELINES
        name = _guess_label(result.source) if is_guess else attack
        row = (guesses if is_guess else attacks).setdefault(name, _Row(beside=is_guess))
        row.counts.add(result.n)
        row.cells[result.metric] = _interval(result, digits)
        if result.undefended is not None:
            row = undefended.setdefault(f"  {name}, undefended", _Row(beside=True))
            row.cells[result.metric] = f"{result.undefended:.{digits}f}"
    for result in results:
        if result.baseline is not None:
            row = guesses.setdefault(_guess_label(result.baseline_name), _Row(beside=True))
            row.cells.setdefault(result.metric, f"{result.baseline:.{find_metric(result.metric).digits}f}")
    return attacks | undefended | {f"  {name}": row for name, row in guesses.items()}


def labels(results: Sequence[Result]) -> list[str]:
    """Return the name of each result's attack for people.

    With "not adaptive" where it did not use the defense's sampler, for which trivial guesses have no use, and a number
    from the second one on where several results of one tier and metric have the same name (other settings, another
    adversary).
    """
    seen: Counter[tuple[str, int, str]] = Counter()
    names = []
    for result in results:
        name = result.source if result.adaptive or result.source in BASELINES else f"{result.source}, not adaptive"
        seen[name, result.tier, result.metric] += 1
        number = seen[name, result.tier, result.metric]
        names.append(name if number == 1 else f"{name} #{number}")
    return names


def _guess_label(name: str | None) -> str:
    return f"{'oracle' if name in ORACLES else 'guess'}: {name or 'trivial'}"


def _range(counts: Set[int]) -> str:
    return "-".join(str(count) for count in sorted({min(counts), max(counts)})) if counts else ""


def _interval(result: Result, digits: int) -> str:
    value, low, high = (f"{figure:.{digits}f}" for figure in (result.value, result.ci_low, result.ci_high))
    return f"{value}\n{low} to {high}"


def leakage_picture(results: Sequence[Result], metric: str, *, title: str, form: PictureForm = "png") -> bytes:
    """Return a picture of one metric over the tiers: a line with 95 % intervals for each attack.

    Trivial guesses and oracles are grey: those with results of their own, and those that stand beside an attack's.
    Dotted: what an attack reached undefended.

    Raises:
        ValueError: there are no results with this metric.
    """
    chosen = [result for result in results if result.metric == metric]
    if not chosen:
        raise ValueError(f"there are no results with the metric {metric!r}")
    # A Figure of its own leaves no global state behind, as pyplot would.
    with mpl.rc_context({"font.size": 9, "text.parse_math": False}):
        figure = Figure(figsize=(7, 3.6), layout="constrained")
        axes = figure.subplots()
        draw_leakage(axes, chosen)
        figure.legend(handles=attacks_first(axes), loc="outside right upper", fontsize=8)
        figure.suptitle(title)
        return picture_bytes(figure, form)


def draw_leakage(axes: Axes, results: Sequence[Result]) -> None:
    """Draw results with one and the same metric over the tiers: attacks, what they reached undefended, and guesses."""
    found = find_metric(results[0].metric)
    _attacks(axes, [result for result in results if result.source not in BASELINES])
    _guesses(axes, results)
    axes.set(xlabel="tier m (client modules)", ylabel=f"{found.label} ({found.exposing}: leaks more)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)


def attacks_first(axes: Axes) -> list[Artist]:
    """Return what the legend names; matplotlib by itself would put lines without intervals first."""
    handles, _ = axes.get_legend_handles_labels()
    return sorted(handles, key=lambda handle: not isinstance(handle, ErrorbarContainer))


def _attacks(axes: Axes, results: Sequence[Result]) -> None:
    named = list(zip(labels(results), results, strict=True))
    names = list(dict.fromkeys(name for name, _ in named))
    for number, name in enumerate(names):
        own = sorted((result for other, result in named if other == name), key=lambda result: result.tier)
        aside = (number - (len(names) - 1) / 2) * APART
        tiers = np.array([result.tier for result in own]) + aside
        values = np.array([result.value for result in own])
        below = values - [result.ci_low for result in own]
        above = [result.ci_high for result in own] - values
        colour, marker = f"C{number}", MARKERS[number % len(MARKERS)]
        line = axes.errorbar(tiers, values, [below, above], color=colour, capsize=3, linewidth=1.2, label=_shown(name))
        line.lines[0].set(marker=marker, markersize=4)
        undefended = [(tier, result.undefended) for tier, result in zip(tiers, own, strict=True)]
        if any(value is not None for _, value in undefended):
            points = [(tier, value) for tier, value in undefended if value is not None]
            (bare,) = axes.plot(*zip(*points, strict=True), ":", color=colour, label=_shown(f"{name}, undefended"))
            bare.set(marker=marker, markersize=4, fillstyle="none")


def _shown(name: str) -> str:
    """Return a name for a legend, which would hide one after "_"."""
    return (" " if name.startswith("_") else "") + drawable(name)


def _guesses(axes: Axes, results: Sequence[Result]) -> None:
    """Draw trivial guesses in grey, each with a line style of its own."""
    values: dict[str, dict[int, float]] = {}
    for result in results:
        if result.source in BASELINES:
            values.setdefault(result.source, {})[result.tier] = result.value
    for result in results:
        if result.baseline is not None:
            values.setdefault(result.baseline_name or "trivial", {}).setdefault(result.tier, result.baseline)
    for (name, by_tier), style in zip(values.items(), cycle(GUESS_STYLES), strict=False):
        tiers = sorted(by_tier)
        heights = [by_tier[tier] for tier in tiers]
        axes.plot(
            tiers, heights, linestyle=style, color="grey", marker="x", markersize=4, label=_shown(_guess_label(name))
        )
