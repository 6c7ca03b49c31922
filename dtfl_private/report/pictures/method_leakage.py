"""The picture of what each method leaks: goal by goal, with intervals and trivial guesses."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dtfl_private.leakage.metrics import Metric
from dtfl_private.report.comparison.exposure import GOALS, reached
from dtfl_private.report.comparison.groups import ComparisonSetting, Group
from dtfl_private.report.pictures.saving import PictureForm, literal, picture_bytes, put_heading
from dtfl_private.report.tables.comparison import title_of

TITLES: Mapping[str, str] = {
    "ssim": "images: SSIM",
    "identifiability": "told apart: identifiability",
    "auc": "membership: AUC",
}


def method_leakage_picture(
    setting: ComparisonSetting, styles: Mapping[str, tuple[str, str]], form: PictureForm = "png"
) -> bytes:
    """Return a picture of what attacks reached on each audited group: a panel per goal, further right leaks more.

    Dots with 95 % intervals; a grey tick is the trivial guess, a cross on the axis says that the goal was not attacked.

    Raises:
        ValueError: no run was audited.
    """
    groups = [group for group in setting.groups if group.exposures]
    if not groups:
        raise ValueError("no run was audited")
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(10, 1.6 + 0.3 * len(groups)), layout="constrained")
        panels = figure.subplots(1, len(GOALS), sharey=True)
        for metric, axes in zip(GOALS, panels, strict=True):
            _panel(axes, groups, metric, styles)
        names = [f"{literal(group.name)}, accuracy {_accuracy(group):.3f}" for group in groups]
        panels[0].set_yticks(range(len(groups)), names)
        panels[0].invert_yaxis()
        put_heading(figure, f"{title_of(setting)}; further right leaks more, | is a guess")
        return picture_bytes(figure, form)


def _accuracy(group: Group) -> float:
    return sum(one.accuracy for one in group.exposures) / len(group.exposures)


def _panel(axes: Axes, groups: Sequence[Group], metric: Metric, styles: Mapping[str, tuple[str, str]]) -> None:
    for place, group in enumerate(groups):
        found, colour = reached(group.exposures, metric.name), styles[group.name][0]
        if found is None:
            axes.plot(0, place, "x", color="grey", markersize=5)
            continue
        ends = [[found.value - found.low], [found.high - found.value]]
        axes.errorbar([found.value], [place], xerr=ends, fmt="o", color=colour, markersize=5, capsize=3)
        if found.guess is not None:
            axes.plot(found.guess, place, "|", color="grey", markersize=14)
    axes.set(xlabel=TITLES[metric.name], xlim=(-0.03, 1.03), ylim=(-0.6, len(groups) - 0.4))
    axes.grid(alpha=0.3, axis="x")
    axes.set_axisbelow(True)
