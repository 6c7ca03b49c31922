"""The frontier as a picture: accuracy against what leaks, a panel for each limit, time as the size of the points."""

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dtfl_private.choosing.limits import Limit
from dtfl_private.choosing.trial import Rules, Standing
from dtfl_private.report.pictures.saving import PictureForm, picture_bytes
from dtfl_private.report.pictures.themes import PAPER, Theme

WIDTH, HEIGHT = 4.6, 3.6
# Area of a point of the untouched configuration's time, in points squared.
AREA = 28.0


def frontier_picture(
    stands: Sequence[Standing],
    frontier: Sequence[Standing],
    rules: Rules,
    *,
    chosen: int | None,
    form: PictureForm = "png",
    theme: Theme = PAPER,
) -> bytes:
    """Return a picture of all whole trials and of the frontier among them.

    Args:
        stands: trials of the last rung.
        frontier: those that no other dominates.
        rules: the limits, which are drawn as lines.
        chosen: number of the recommended trial; None if there is none.
        form: of the file.
        theme: colours.
    """
    with mpl.rc_context(theme.rc):
        limits = list(rules.limits)
        figure = Figure(figsize=(WIDTH * len(limits), HEIGHT), layout="constrained")
        panels = figure.subplots(1, len(limits), squeeze=False)[0]
        for place, (axes, limit) in enumerate(zip(panels, limits, strict=True)):
            _panel(axes, place, stands, frontier, rules, limit, chosen, theme)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
        return picture_bytes(figure, form)


def _panel(
    axes: Axes,
    place: int,
    stands: Sequence[Standing],
    frontier: Sequence[Standing],
    rules: Rules,
    limit: Limit,
    chosen: int | None,
    theme: Theme,
) -> None:
    best = {stand.measured.trial for stand in frontier}
    groups = [
        ("dominated", [one for one in stands if one.measured.trial not in best], theme.colours[4], "none"),
        ("frontier", list(frontier), theme.colours[0], theme.colours[0]),
    ]
    for name, group, edge, face in groups:
        points = [
            (leak, accuracy, area) for one in group if (found := _point(one, place)) for leak, accuracy, area in [found]
        ]
        axes.scatter(
            [point[0] for point in points],
            [point[1] for point in points],
            s=[point[2] for point in points],
            edgecolors=edge,
            facecolors=face,
            label=name,
        )
    _names(axes, place, frontier)
    for one in stands:
        if one.measured.trial == chosen and (found := _point(one, place)):
            axes.plot(*found[:2], "o", markersize=14, color=theme.colours[1], fillstyle="none", label="recommended")
    axes.axvline(limit.bound, color=theme.colours[1], linestyle="--", linewidth=1, label="limit")
    baseline = stands[0].measured.accuracy
    if baseline is not None:
        least = max(0.0, baseline - rules.max_accuracy_loss)
        axes.axhline(least, color=theme.colours[2], linestyle=":", linewidth=1, label="least accuracy")
    side = "high" if limit.high else "low"
    axes.set(xlabel=f"{limit.label} at the worst tier ({side}: leaks more)", ylabel="accuracy of trials")
    axes.grid(alpha=0.6)


def _point(stand: Standing, place: int) -> tuple[float, float, float] | None:
    """Return where a trial is drawn, and how large; None where it has no figure."""
    leak, accuracy = stand.worst[place].value, stand.measured.accuracy
    if leak is None or accuracy is None:
        return None
    return leak, accuracy, AREA * min(9.0, max(0.3, stand.time_ratio or 1.0))


def _names(axes: Axes, place: int, frontier: Sequence[Standing]) -> None:
    """Write trials' numbers beside their points, above and below in turn."""
    points = [(found, one) for one in frontier if (found := _point(one, place))]
    for number, ((leak, accuracy, _), one) in enumerate(sorted(points, key=lambda pair: pair[0])):
        shift = (4, 5) if number % 2 == 0 else (4, -10)
        axes.annotate(str(one.measured.trial), (leak, accuracy), shift, textcoords="offset points", fontsize=7)


def frontier_text(frontier: Sequence[Standing], rules: Rules) -> str:
    """Return the gist of the picture, for readers who do not see it."""
    parts = []
    for one in frontier:
        leaks = [
            f"{limit.label} {leak.value:.{limit.digits}f}"
            for limit, leak in zip(rules.limits, one.worst, strict=True)
            if leak.value is not None
        ]
        if one.measured.accuracy is not None:
            parts.append(f"trial {one.measured.trial}: accuracy {one.measured.accuracy:.3f}, {', '.join(leaks)}")
    return f"Scatter plot of accuracy against leakage of the trials on the frontier. {'; '.join(parts)}."
