"""The picture of time, accuracy and leakage by tier: a row for each group of runs."""

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dtfl_private.report.comparison.means import Mean
from dtfl_private.report.pictures.saving import PictureForm, literal, picture_bytes
from dtfl_private.report.side_by_side import SideBySide
from dtfl_private.report.tables.side_by_side import side_by_side_title, time_label

# Inches of a panel of dots, of a cell of the table of leakage, and of what stands around all.
DOTS, CELL, ROW, MARGIN = 2.2, 0.72, 0.34, (2.6, 1.3)
COLOUR = "#0072B2"
# From this leakage on, figures in a cell are white.
DARK = 0.6


def side_by_side_picture(found: SideBySide, form: PictureForm = "png") -> bytes:
    """Return a picture of time and accuracy with their 95 % intervals, and of leakage at each tier.

    A time that is only a lower bound is an open triangle; a tier that was not attacked is blank.
    """
    rows, tiers = len(found.rows), len(found.tiers)
    size = (MARGIN[0] + 2 * DOTS + CELL * tiers, MARGIN[1] + ROW * rows)
    with mpl.rc_context({"font.size": 8}):
        figure = Figure(figsize=size, layout="constrained")
        time, accuracy, leakage = figure.subplots(1, 3, width_ratios=[DOTS, DOTS, CELL * tiers], sharey=True)
        for place, row in enumerate(found.rows):
            _dot(time, place, row.time_s)
            _dot(accuracy, place, row.accuracy)
        time.set_xlabel(time_label(found))
        accuracy.set_xlabel("test accuracy")
        time.set_xlim(0, None)
        for axes in (time, accuracy):
            axes.grid(alpha=0.4)
            axes.set_axisbelow(True)
        _cells(leakage, found)
        time.set_yticks(range(rows), [literal(row.name) for row in found.rows])
        time.set_ylim(rows - 0.5, -0.5)
        figure.suptitle(literal(f"{side_by_side_title(found)} (n = {_numbers(found)})"), fontsize=8)
        return picture_bytes(figure, form)


def _numbers(found: SideBySide) -> str:
    """Return how many runs a row has, or from which to which."""
    numbers = sorted({row.runs for row in found.rows})
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def _guess(found: SideBySide) -> str:
    """Return what the best trivial guess reaches, over all tiers and rows."""
    guesses = sorted({f"{guess:.2f}" for row in found.rows for guess in row.guess.values()})
    return "" if not guesses else f"\n(the best guess: {' to '.join(dict.fromkeys((guesses[0], guesses[-1])))})"


def _dot(axes: Axes, place: int, mean: Mean) -> None:
    if mean.mean is None:
        if mean.at_least is not None:
            axes.plot([mean.at_least], [place], ">", color=COLOUR, markerfacecolor="none", markersize=5)
        return
    half = mean.half_width or 0.0
    axes.errorbar([mean.mean], [place], xerr=[half], fmt="o", color=COLOUR, markersize=4, capsize=2.5)


def _cells(axes: Axes, found: SideBySide) -> None:
    means = [[row.leakage.get(tier) for tier in found.tiers] for row in found.rows]
    values = np.array([[np.nan if one is None or one.mean is None else one.mean for one in row] for row in means])
    axes.imshow(np.ma.masked_invalid(values), cmap="Reds", vmin=0, vmax=1, aspect="auto")
    for (place, column), value in np.ndenumerate(values):
        one = means[place][column]
        if one is None or np.isnan(value):
            continue
        spread = "" if one.half_width is None else f"\n± {one.half_width:.2f}"
        colour = "white" if value > DARK else "black"
        axes.text(column, place, f"{value:.2f}{spread}", ha="center", va="center", fontsize=6.5, color=colour)
    axes.set_xticks(range(len(found.tiers)), [str(tier) for tier in found.tiers])
    axes.set_xlabel(f"leakage in tier{_guess(found)}")
    axes.tick_params(length=0)
