"""Test accuracy against leakage: this run, the same undefended, and a compared one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dtfl_private.leakage.metrics import find_metric
from dtfl_private.leakage.results.result import Result
from dtfl_private.report.pictures.fitting import fitted
from dtfl_private.report.pictures.saving import PictureForm, picture_bytes
from dtfl_private.report.pictures.themes import PAPER, Theme
from dtfl_private.verdicts.findings import Findings
from dtfl_private.verdicts.selected_results import compared_rows, leakage_metric, of_metric

SIZE = (4.6, 3.6)


# Accuracies that differ by less would be drawn as if they differed by much.
LEAST_SPAN = 0.1


# Of a point's name, as a share of the axis; and how near points are that have one name.
NAME_WIDTH = 0.14
TOGETHER = 0.05


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points of one training run: its test accuracy, and the leakage of each tier.

    Attributes:
        name: for the legend.
        accuracy: the run's.
        points: tier, leakage, and the ends of its interval, which are None where it is not known.
    """

    name: str
    accuracy: float
    points: Sequence[tuple[int, float, float | None, float | None]]


def accuracy_leakage_series(findings: Findings) -> list[Series]:
    """Return this run, the same undefended, and the one that it is compared with, as far as they are known."""
    metric = leakage_metric(findings)
    if metric is None:
        return []
    training, strongest = findings.training, of_metric(findings.strongest, metric)
    name = "this run" if training.defense else "this run, undefended"
    found = [Series(name=name, accuracy=training.test_accuracy, points=_points(strongest))]
    bare = [(result.tier, result.undefended, None, None) for result in strongest if result.undefended is not None]
    if training.undefended_accuracy is not None and bare:
        found.append(Series(name="undefended", accuracy=training.undefended_accuracy, points=bare))
    others = [row.other for row in compared_rows(findings, metric)]
    if findings.compared and others:
        accuracy = findings.compared.training.test_accuracy
        found.append(Series(name="compared run", accuracy=accuracy, points=_points(others)))
    return found


def _points(results: Sequence[Result]) -> list[tuple[int, float, float | None, float | None]]:
    return [(result.tier, result.value, result.ci_low, result.ci_high) for result in results]


def accuracy_leakage_picture(findings: Findings, *, form: PictureForm = "png", theme: Theme = PAPER) -> bytes:
    """Return a picture of test accuracy against the strongest attack on each tier, with 95 % intervals.

    Points are marked with their tier's number. Useful and private lies at the upper left (at the upper right for a
    metric whose low values expose).

    Raises:
        ValueError: no attack has reached anything.
    """
    series, metric = accuracy_leakage_series(findings), leakage_metric(findings)
    if metric is None or not series:
        raise ValueError("no attack has reached anything that could be drawn against accuracy")
    # A Figure of its own leaves no global state behind, as pyplot would.
    with mpl.rc_context(theme.rc):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        for number, one in enumerate(series):
            _series(axes, one, number, theme)
        _guess(axes, of_metric(findings.strongest, metric))
        _scale(axes, series, of_metric(findings.strongest, metric), find_metric(metric).limits)
        for one in series:
            _name_tiers(axes, one)
        found = find_metric(metric)
        label = f"{found.label} of the strongest attack ({found.exposing}: leaks more)"
        axes.set(xlabel=label, ylabel="test accuracy")
        axes.grid(alpha=0.6)
        _better(axes, found.exposing)
        figure.legend(loc="outside lower center", ncols=2, fontsize=8)
        return picture_bytes(figure, form)


def _series(axes: Axes, series: Series, number: int, theme: Theme) -> None:
    colour, marker = theme.colours[number], "osD"[number]
    fill = "none" if number else "full"
    values = [value for _, value, _, _ in series.points]
    heights = [series.accuracy] * len(values)
    axes.plot(values, heights, color=colour, linewidth=0.8, alpha=0.6)
    axes.plot(values, heights, marker, markersize=6, color=colour, fillstyle=fill, label=series.name)
    for _, _, low, high in series.points:
        if low is not None and high is not None:
            axes.plot([low, high], [series.accuracy] * 2, "|-", color=colour, linewidth=1.6)


def _name_tiers(axes: Axes, series: Series) -> None:
    """Write the tiers above their points; points that almost coincide share a name, and near names differ in height."""
    width = axes.get_xlim()[1] - axes.get_xlim()[0]
    groups: list[list[tuple[int, float]]] = []
    for tier, value, _, _ in sorted(series.points, key=lambda point: point[1]):
        if groups and value - groups[-1][-1][1] < TOGETHER * width:
            groups[-1].append((tier, value))
        else:
            groups.append([(tier, value)])
    level, before = 0, -1.0
    for group in groups:
        middle = sum(value for _, value in group) / len(group)
        level = 1 - level if (middle - before) < NAME_WIDTH * width else 0
        before, name = middle, ranges(tier for tier, _ in group)
        place, point = (0, 7 + 9 * level), (middle, series.accuracy)
        axes.annotate(name, point, place, textcoords="offset points", ha="center", fontsize=8)


def ranges(numbers: Iterable[int]) -> str:
    """Return numbers in order, those in a row together: "1-3, 5"."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _guess(axes: Axes, results: Sequence[Result]) -> None:
    """Draw where trivial guesses lie, from the worst to the best of the tiers."""
    guesses = [result.baseline for result in results if result.baseline is not None]
    if guesses:
        axes.axvspan(min(guesses), max(guesses), color="grey", alpha=0.25, linewidth=0)
        axes.axvline(max(guesses), color="grey", linestyle="--", linewidth=1, label="trivial guess")


def _better(axes: Axes, exposing: str) -> None:
    """Name the corner of useful runs that leak little."""
    where, side, text = (0, "left", "↖ better") if exposing == "high" else (1, "right", "better ↗")
    axes.text(where, 1.01, text, transform=axes.transAxes, ha=side, va="bottom", fontsize=8, style="italic")


def _scale(axes: Axes, series: Sequence[Series], guesses: Sequence[Result], limits: tuple[float, float] | None) -> None:
    """Fit the axes to the points with their intervals and guesses; no accuracy is above 1."""
    points = [point for one in series for point in one.points]
    values = [end for _, value, low, high in points for end in (value, low, high) if end is not None]
    axes.set_xlim(*fitted([*values, *(one.baseline for one in guesses if one.baseline is not None)], limits))
    accuracies = [one.accuracy for one in series]
    span = max(LEAST_SPAN, max(accuracies) - min(accuracies))
    middle = (max(accuracies) + min(accuracies)) / 2
    axes.set_ylim(middle - 0.75 * span, middle + 0.85 * span)
    # Room above the points for their names, but no accuracy above 1.
    axes.set_yticks([tick for tick in axes.get_yticks() if middle - 0.75 * span <= tick <= 1])
