"""How images and labels are spread over clients: a table and a picture."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.table import Table

from dtfl_private.printable import short_name
from dtfl_private.protocol.contracts import FloatArray, IntArray
from dtfl_private.report.pictures.saving import drawable, literal, picture_bytes
from dtfl_private.report.tables.plain import plain_table

# With more classes a client's largest ones are named instead of a column for each class.
MOST_COLUMNS = 12
LARGEST_NAMED = 5

# With more clients the smallest and the largest are shown.
MOST_ROWS = 40
ROWS_OF_EACH_END = 15

# With more classes a picture has a colour bar instead of a legend.
MOST_IN_LEGEND = 20


def distribution_table(
    counts_KC: IntArray, effective_K: FloatArray, distance_K: FloatArray, classes: Sequence[str], *, title: str
) -> Table:
    """Return a row per client: images, images of each class, and how far its labels are from those of all.

    Args:
        counts_KC: images per client and class.
        effective_K: effective number of classes per client.
        distance_K: total-variation distance of each client's labels to all labels.
        classes: their names.
        title: heading.
    """
    wide = len(classes) <= MOST_COLUMNS
    columns = map(str, range(len(classes))) if wide else ("class:images",)
    table = plain_table(title, "client", "images", *columns, "effective classes", "distance")
    sizes_K = counts_KC.sum(axis=1)
    for client in _shown(sizes_K):
        if client is None:
            table.add_row("...")
            continue
        cells = [str(count) for count in counts_KC[client]] if wide else [_largest(counts_KC[client])]
        table.add_row(
            str(client), f"{sizes_K[client]:,}", *cells, f"{effective_K[client]:.2f}", f"{distance_K[client]:.3f}"
        )
    if any(name != str(number) for number, name in enumerate(classes)):
        names = ", ".join(f"{number} {short_name(name)}" for number, name in enumerate(classes[:MOST_COLUMNS]))
        table.caption = f"classes: {names}{'' if wide else f', ... ({len(classes)} in all)'}"
        table.caption_justify = "left"
    return table


def spread_table(sizes_K: IntArray, effective_K: FloatArray, distance_K: FloatArray) -> Table:
    """Return minimum, median and maximum over the clients."""
    table = plain_table(f"over {len(sizes_K):,} clients", "", "min", "median", "max")
    for name, values, form in (
        ("images", sizes_K, ",.0f"),
        ("effective classes: exp(entropy of the labels)", effective_K, ".2f"),
        ("distance: total variation to all labels, 0..1", distance_K, ".3f"),
    ):
        table.add_row(name, *(format(float(value), form) for value in np.percentile(values, (0, 50, 100))))
    return table


def _shown(sizes_K: IntArray) -> list[int | None]:
    """Return the clients to show, in order; None stands for those left out, by size."""
    if len(sizes_K) <= MOST_ROWS:
        return list(range(len(sizes_K)))
    order: list[int] = np.argsort(-sizes_K, kind="stable").tolist()
    return [*order[:ROWS_OF_EACH_END], None, *order[-ROWS_OF_EACH_END:]]


def _largest(counts_C: IntArray) -> str:
    held = int(np.count_nonzero(counts_C))
    order = np.argsort(-counts_C, kind="stable")[: min(held, LARGEST_NAMED)]
    more = f" +{held - LARGEST_NAMED} more" if held > LARGEST_NAMED else ""
    return " ".join(f"{label}:{counts_C[label]}" for label in order) + more


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
