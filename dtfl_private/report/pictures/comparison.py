"""The pictures of a comparison: accuracy against its expense, and the simulated time to the target."""

import textwrap
from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from dtfl_private.report.comparison.groups import Comparison, ComparisonSetting, Group
from dtfl_private.report.comparison.runs import AXES, AxisName
from dtfl_private.report.comparison.speedups import speedup
from dtfl_private.report.pictures.saving import PictureForm, literal, picture_bytes, put_heading
from dtfl_private.report.tables.comparison import BLANK, speedup_text, title_of
from dtfl_private.report.words.numbers import duration

LABELS: Mapping[AxisName, str] = {
    "time_s": "simulated time, s",
    "rounds": "round",
    "bytes": "sent",
    "macs": "multiply-accumulates",
}

# Large numbers are shown with a decimal prefix and this unit.
UNITS: Mapping[AxisName, str] = {"bytes": "B", "macs": ""}

# Okabe and Ito's colours, told apart also with a colour-vision deficiency; then the same with other lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", ":")

# Where runs last so differently that on a linear axis the short ones would be a vertical line.
LOGARITHMIC_FROM = 6.0

# Inches of a panel of bars, and about those of a letter: figures at the ends of bars are to stand within the panel.
PANEL_IN = 4.5
LETTER_IN = 0.065


def accuracy_picture(
    setting: ComparisonSetting, styles: Mapping[str, tuple[str, str]], form: PictureForm = "png"
) -> bytes:
    """Return a picture of test accuracy against simulated time, rounds, bytes and MACs.

    Lines are means over the seeds, bands reach from the lowest to the highest one; each ends where the first run does.
    """
    # A Figure of its own leaves no global state behind, as pyplot would.
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(12, 3.6), layout="constrained")
        panels = figure.subplots(1, len(AXES), sharey=True)
        for axis, axes in zip(AXES, panels, strict=True):
            for group in setting.groups:
                _curve(axes, group, axis, *styles[group.name])
            _scale(axes, setting, axis)
        panels[0].set_ylabel("test accuracy")
        figure.legend(handles=panels[0].get_lines()[: len(setting.groups)], loc="outside lower center", ncols=6)
        put_heading(figure, title_of(setting))
        return picture_bytes(figure, form)


def _curve(axes: Axes, group: Group, axis: AxisName, colour: str, line: str) -> None:
    expenses = [run.course.expense_R[axis] for run in group.runs]
    first, last = max(expense[0] for expense in expenses), min(expense[-1] for expense in expenses)
    # Between these the mean of straight lines is a straight line.
    at = np.unique(np.clip(np.concatenate(expenses), first, max(first, last)))
    accuracy = np.array([np.interp(at, run.course.expense_R[axis], run.course.accuracy_R) for run in group.runs])
    axes.plot(at, accuracy.mean(axis=0), line, color=colour, linewidth=1.4, label=literal(group.name))
    if len(group.runs) > 1:
        axes.fill_between(at, accuracy.min(axis=0), accuracy.max(axis=0), color=colour, alpha=0.15, linewidth=0)


def _scale(axes: Axes, setting: ComparisonSetting, axis: AxisName) -> None:
    ends = [run.course.total[axis] for group in setting.groups for run in group.runs]
    starts: list[float] = [run.course.expense_R[axis][0] for group in setting.groups for run in group.runs]
    if axis != "rounds" and min(starts) > 0 and max(ends) > LOGARITHMIC_FROM * min(ends):
        axes.set_xscale("log")
    else:
        axes.set_xlim(0, None)
    if setting.target is not None:
        axes.axhline(setting.target, color="grey", linewidth=0.8, linestyle=(0, (1, 2)))
    if axis == "rounds":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if axis in UNITS:
        axes.xaxis.set_major_formatter(EngFormatter(unit=UNITS[axis]))
    axes.set(xlabel=LABELS[axis])
    axes.grid(alpha=0.3)


def target_picture(comparison: Comparison, styles: Mapping[str, tuple[str, str]], form: PictureForm = "png") -> bytes:
    """Return a picture of the simulated time to the target: a bar per group, a dot per run.

    Hatched bars are lower bounds: at least one run never reached the target, which an open dot at its end marks.
    """
    settings = [setting for setting in comparison.settings if setting.target is not None]
    columns = min(3, len(settings))
    rows = -(-len(settings) // columns)
    most = max(len(setting.groups) for setting in settings)
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(max(5.5, PANEL_IN * columns), rows * (1.0 + 0.28 * most)), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).flatten()
        for setting, axes in zip(settings, panels, strict=False):
            _bars(axes, setting, styles)
        for axes in panels[len(settings) :]:
            axes.set_axis_off()
        return picture_bytes(figure, form)


def _bars(axes: Axes, setting: ComparisonSetting, styles: Mapping[str, tuple[str, str]]) -> None:
    longest_name = max(len(group.name) for group in setting.groups)
    width_in = PANEL_IN - LETTER_IN * (longest_name + 4)
    room = []
    for position, group in enumerate(setting.groups):
        mean, colour = group.to_target("time_s"), styles[group.name][0]
        length = mean.mean if mean.mean is not None else mean.at_least or 0.0
        hatch = "" if mean.mean is not None else "///"
        pale = _pale(colour)
        axes.barh(position, length, height=0.7, color=pale, hatch=hatch, edgecolor=colour, linewidth=0.8)
        end = max(length, *_dots(axes, group, position, colour))
        text = ("" if mean.mean is not None else "> ") + duration(length)
        factor = speedup_text(speedup(group, setting.baseline)).partition(" (")[0]
        text += f"  {factor}" if factor != BLANK else ""
        room.append(end / max(0.2, 1 - LETTER_IN * (len(text) + 1) / width_in))
        axes.annotate(text, (end, position), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(range(len(setting.groups)), [literal(group.name) for group in setting.groups])
    axes.invert_yaxis()
    title = setting.name or f"target accuracy {setting.target:g}"
    axes.set(xlabel="simulated time to target, s", xlim=(0, max(room)))
    axes.set_title(literal(textwrap.fill(title, 35)), fontsize=9)
    axes.grid(alpha=0.3, axis="x")
    axes.set_axisbelow(True)


def _dots(axes: Axes, group: Group, position: int, colour: str) -> list[float]:
    """Draw one dot per run and return where they are."""
    at = []
    for run in group.runs:
        reached = run.course.to_target(run.target)["time_s"]
        at.append(run.course.total["time_s"] if reached is None else reached)
        axes.plot(at[-1], position, "o", markersize=3.5, color=colour, fillstyle="none" if reached is None else "full")
    return at


def group_styles(comparison: Comparison) -> dict[str, tuple[str, str]]:
    """Return colour and line of each group, the same in all pictures."""
    names = list(dict.fromkeys(group.name for setting in comparison.settings for group in setting.groups))
    return {
        name: (COLOURS[number % len(COLOURS)], LINES[number // len(COLOURS) % len(LINES)])
        for number, name in enumerate(names)
    }


def _pale(colour: str) -> tuple[float, float, float]:
    """Return a colour mixed with white: hatches on transparent bars do not show in SVG."""
    red, green, blue = (1 - 0.45 * (1 - part) for part in to_rgb(colour))
    return red, green, blue
