"""Picture of how images and labels are spread over clients."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dtfl_private.printable import short_name
from dtfl_private.protocol.contracts import FloatArray, IntArray
from dtfl_private.report.pictures.saving import drawable, literal, picture_bytes

# With more classes a picture has a colour bar instead of a legend.
MOST_IN_LEGEND = 20


def distribution_picture(counts_KC: IntArray, classes: Sequence[str], *, title: str) -> bytes:
    """Return a PNG picture: a bar per client in order of number, stacked by class."""
    clients = len(counts_KC)
    colours = _colours(len(classes))
    # A Figure of its own leaves no global state behind, as pyplot would.
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(10, 3.6), layout="constrained")
        axes = figure.subplots()
        tops_KC = np.cumsum(counts_KC, axis=1)
        for label, name in enumerate(classes):
            corners_K42 = _bars(tops_KC[:, label] - counts_KC[:, label], tops_KC[:, label])
            # One collection per class: an object per bar would take a minute with a hundred classes.
            axes.add_collection(
                PolyCollection(
                    list(corners_K42), facecolors=colours(label), linewidths=0, label=_legend_name(label, name)
                )
            )
        axes.set(xlabel="client", ylabel="training images", title=literal(title))
        axes.set(xlim=(-0.6, clients - 0.4), ylim=(0, 1.04 * tops_KC.max()))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(classes) <= MOST_IN_LEGEND:
            axes.legend(title="class", fontsize=8, title_fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        else:
            scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(-0.5, len(classes) - 0.5), colours)
            figure.colorbar(scale, ax=axes, label="class")
        return picture_bytes(figure, "png")


def _bars(bottom_K: IntArray, top_K: IntArray) -> FloatArray:
    """Return the corners of one rectangle per client, (K, 4, 2)."""
    middle_K = np.arange(len(bottom_K))
    half = 0.42 if len(bottom_K) <= 50 else 0.5
    left, right = middle_K - half, middle_K + half
    corners = [(left, bottom_K), (right, bottom_K), (right, top_K), (left, top_K)]
    return np.stack([np.stack(corner, axis=1) for corner in corners], axis=1)


def _legend_name(label: int, name: str) -> str:
    """Return a class's name as a legend shows it; with its number where characters of it could not be drawn."""
    shown = short_name(name)
    if drawable(shown) != name:
        shown = f"{label} {shown}"
    # A legend hides what begins with "_".
    return (" " if shown.startswith("_") else "") + literal(shown)


def _colours(classes: int) -> ListedColormap:
    """Return one colour for each class: distinct ones for few classes, a rainbow for many."""
    if classes <= 10:
        return ListedColormap(mpl.colormaps["tab10"](np.arange(classes)))
    if classes <= MOST_IN_LEGEND:
        return ListedColormap(mpl.colormaps["tab20"](np.arange(classes)))
    return ListedColormap(mpl.colormaps["turbo"](np.linspace(0, 1, classes)))
