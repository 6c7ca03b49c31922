"""Test accuracy against leakage: this run, the same undefended, and a compared one."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dtfl_private.leakage.metrics import find_metric
from dtfl_private.leakage.results.result import Result
from dtfl_private.report.pictures.saving import PictureForm, picture_bytes
from dtfl_private.report.pictures.themes import PAPER, Theme
from dtfl_private.verdicts.findings import Findings
from dtfl_private.verdicts.selected_results import compared_rows, leakage_metric, of_metric

SIZE = (4.6, 3.6)


# Accuracies that differ by less would be drawn as if they differed by much.
LEAST_SPAN = 0.1


# Of a point's name, as a share of the axis.
NAME_WIDTH = 0.1


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

    Points are marked with their tier. Useful and private lies at the upper left (at the upper right for a metric whose
    low values expose).

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
        _scale(axes, [one.accuracy for one in series])
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
    """Write the tiers above their points, one higher where two points almost coincide."""
    ordered = sorted(series.points, key=lambda point: point[1])
    ends = [value for _, value, _, _ in ordered]
    near = NAME_WIDTH * (axes.get_xlim()[1] - axes.get_xlim()[0])
    close = [False, *(after - before < near for before, after in pairwise(ends))]
    level = 0
    for (tier, value, _, _), crowded in zip(ordered, close, strict=True):
        level = level + 1 if crowded else 0
        place = (0, 7 + 9 * level)
        name, point = f"m={tier}", (value, series.accuracy)
        axes.annotate(name, point, place, textcoords="offset points", ha="center", fontsize=8)


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


def _scale(axes: Axes, accuracies: Sequence[float]) -> None:
    span = max(LEAST_SPAN, max(accuracies) - min(accuracies))
    middle = (max(accuracies) + min(accuracies)) / 2
    axes.set_ylim(middle - 0.75 * span, middle + 0.85 * span)
    # Room above the points for their names, but no accuracy above 1.
    axes.set_yticks([tick for tick in axes.get_yticks() if middle - 0.75 * span <= tick <= 1])
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.0), max(high, 1.0 if high > 0.5 else high))
