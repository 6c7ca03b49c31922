"""Pictures of what attacks reached, tier by tier."""

from collections.abc import Sequence
from itertools import cycle

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dtfl_private.leakage.baselines import GUESSES
from dtfl_private.leakage.metrics import find_metric
from dtfl_private.leakage.results.result import Result
from dtfl_private.report.pictures.saving import PictureForm, drawable, picture_bytes
from dtfl_private.report.words.results import attack_labels, guess_label

GUESS_STYLES = ("--", "-.", ":")


MARKERS = "osDv^"


# How far lines stand apart, so that their intervals do not hide each other; in tiers.
APART = 0.06


def leakage_picture(results: Sequence[Result], metric: str, *, title: str, form: PictureForm = "png") -> bytes:
    """Return a picture of one metric over the tiers: a line with 95 % intervals for each attack.

    Trivial guesses and oracles are grey: those with results of their own, and those that attacks are compared with.
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
    _attacks(axes, [result for result in results if result.source not in GUESSES])
    _guesses(axes, results)
    axes.set(xlabel="tier m (client modules)", ylabel=f"{found.label} ({found.exposing}: leaks more)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)


def attacks_first(axes: Axes) -> list[Artist]:
    """Return what the legend names; matplotlib by itself would put lines without intervals first."""
    handles, _ = axes.get_legend_handles_labels()
    return sorted(handles, key=lambda handle: not isinstance(handle, ErrorbarContainer))


def _attacks(axes: Axes, results: Sequence[Result]) -> None:
    named = list(zip(attack_labels(results), results, strict=True))
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
        if result.source in GUESSES:
            values.setdefault(result.source, {})[result.tier] = result.value
    for result in results:
        if result.baseline is not None:
            values.setdefault(result.baseline_name or "trivial", {}).setdefault(result.tier, result.baseline)
    for (name, by_tier), style in zip(values.items(), cycle(GUESS_STYLES), strict=False):
        tiers = sorted(by_tier)
        heights = [by_tier[tier] for tier in tiers]
        axes.plot(
            tiers, heights, linestyle=style, color="grey", marker="x", markersize=4, label=_shown(guess_label(name))
        )
