"""The picture of a sweep without training: panels of lines with 95 % intervals."""

from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from dtfl_private.report.pictures.saving import PictureForm, literal, picture_bytes
from dtfl_private.report.pictures.themes import PAPER, Theme
from dtfl_private.report.plan_sweep import Curve, PlanSweep
from dtfl_private.report.plan_sweep import Figure as FigureName
from dtfl_private.report.tables.plan_sweep import value_text

LABELS: dict[FigureName, str] = {
    "regret": "regret against the oracle",
    "speedup": "times as fast as {against}",
    "tier_accuracy": "clients in the oracle's tier",
}

# Inches of a panel, and of what stands beside and above all.
PANEL, MARGIN = (2.6, 1.9), (0.6, 1.0)
MARKERS = "os^Dv"


def plan_sweep_picture(
    sweep: PlanSweep, figure: FigureName, *, form: PictureForm = "png", theme: Theme = PAPER
) -> bytes:
    """Return a picture of a figure over the horizontal axis: rows and columns of panels, a line for what else varies.

    Points are means over the seeds, bars their 95 % intervals; the panels of a column share a scale.
    """
    rows, columns = ([*dict.fromkeys(curve.values[key] for curve in sweep.curves)] for key in sweep.panels)
    with mpl.rc_context(theme.rc):
        size = (PANEL[0] * len(columns) + MARGIN[0], PANEL[1] * len(rows) + MARGIN[1])
        drawn = Figure(figsize=size, layout="constrained")
        panels = drawn.subplots(len(rows), len(columns), sharex=True, sharey="col", squeeze=False)
        styles = _styles(sweep, theme)
        for curve in sweep.curves:
            at = [values.index(curve.values[key]) for values, key in zip((rows, columns), sweep.panels, strict=True)]
            _line(panels[at[0]][at[1]], curve, figure, *styles[_name(sweep, curve)], _name(sweep, curve))
        for row, value in enumerate(rows):
            panels[row][0].set_ylabel(f"{sweep.panels[0]} {value_text(value)}")
        for column, value in enumerate(columns):
            panels[0][column].set_title(f"{sweep.panels[1]} {value_text(value)}", fontsize=9)
            panels[-1][column].set_xlabel(sweep.x)
        lines: dict[str, Any] = {}  # a panel need not have all
        for axes in panels.flat:
            handles, names = axes.get_legend_handles_labels()
            lines.update(zip(names, handles, strict=True))
            axes.axvline(sweep.reference, color="grey", linestyle=":", linewidth=1)
            if figure == "speedup":
                axes.axhline(1, color="grey", linestyle=":", linewidth=1)
            else:
                axes.yaxis.set_major_formatter(PercentFormatter(1))
            axes.grid(alpha=0.6)
        drawn.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=2, fontsize=8)
        drawn.suptitle(
            literal(f"{LABELS[figure].format(against=sweep.against)} (n = {sweep.seeds}; bars: 95 % intervals)"),
            fontsize=9,
        )
        return picture_bytes(drawn, form)


def _name(sweep: PlanSweep, curve: Curve) -> str:
    return (
        ", ".join(f"{key} {value_text(curve.values[key])}" for key in sweep.apart[len(sweep.panels) :]) or sweep.title
    )


def _styles(sweep: PlanSweep, theme: Theme) -> dict[str, tuple[str, str]]:
    names = [*dict.fromkeys(_name(sweep, curve) for curve in sweep.curves)]
    return {
        name: (theme.colours[place % len(theme.colours)], MARKERS[place % len(MARKERS)])
        for place, name in enumerate(names)
    }


def _line(axes: Axes, curve: Curve, figure: FigureName, colour: str, marker: str, name: str) -> None:
    means = [curve.mean(x, figure) for x in curve.xs]
    heights: list[Any] = [mean.mean for mean in means]
    halves = [mean.half_width or 0.0 for mean in means]
    axes.errorbar(
        curve.xs,
        heights,
        yerr=halves,
        color=colour,
        marker=marker,
        markersize=3.5,
        linewidth=1.1,
        capsize=2,
        label=name,
    )
