"""The picture of leakage against the attacker's data."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from dtfl_private.leakage.metrics import find_metric
from dtfl_private.report.pictures.fitting import fitted
from dtfl_private.report.pictures.saving import PictureForm, drawable, picture_bytes
from dtfl_private.report.pictures.themes import PAPER, Theme
from dtfl_private.verdicts.auxiliary_point import AuxiliaryPoint
from dtfl_private.verdicts.findings import Findings
from dtfl_private.verdicts.selected_results import curve_of, noun_of_curve

SIZE = (4.6, 3.0)

# Shares or nearly so, which fit one axis; the first of images, the second of texts.
DRAWN = ("ssim", "token-accuracy", "identifiability")


def auxiliary_curve_picture(findings: Findings, *, form: PictureForm = "png", theme: Theme = PAPER) -> bytes:
    """Return a picture of what one attack gets over the number of auxiliary images, with 95 % intervals, and guesses.

    Raises:
        ValueError: the audit has no such curve.
    """
    curves = [curve for metric in DRAWN if (curve := curve_of(findings, metric))]
    if not curves:
        raise ValueError("the audit has not measured leakage against the attacker's data")
    with mpl.rc_context(theme.rc):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        for number, curve in enumerate(curves):
            _draw(axes, curve, theme.colours[number], "os"[number])
        sizes = [point.images for point in curves[0]]
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(sizes))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels([f"{size:,}" for size in sizes])
        drawn = [point.result for curve in curves for point in curve]
        ends = [(result.ci_low, result.ci_high, result.baseline) for result in drawn]
        axes.set_ylim(*fitted([value for values in ends for value in values if value is not None], (0.0, 1.0)))
        axes.set(xlabel=f"auxiliary {noun_of_curve(findings)} to train on", ylabel="high: leaks more")
        axes.grid(alpha=0.6)
        figure.legend(loc="outside lower center", ncols=2, fontsize=8)
        return picture_bytes(figure, form)


def _draw(axes: Axes, curve: Sequence[AuxiliaryPoint], colour: str, marker: str) -> None:
    """Draw one metric: the attack with its intervals, and dashed the trivial guess with the same images."""
    results = [point.result for point in curve]
    sizes, values = np.array([point.images for point in curve]), np.array([result.value for result in results])
    below = values - [result.ci_low for result in results]
    above = [result.ci_high for result in results] - values
    label = find_metric(results[0].metric).label
    name = drawable(f"{results[0].source}, {label}")
    axes.errorbar(sizes, values, [below, above], color=colour, marker=marker, markersize=5, capsize=3, label=name)
    guesses = [(size, result.baseline) for size, result in zip(sizes, results, strict=True)]
    known = [(size, value) for size, value in guesses if value is not None]
    if known:
        axes.plot(*zip(*known, strict=True), "--", color=colour, linewidth=1, label=f"trivial guess, {label}")
