"""Tables of how images and labels are spread over clients."""

from collections.abc import Sequence

import numpy as np
from rich.table import Table

from dtfl_private.printable import short_name
from dtfl_private.protocol.contracts import FloatArray, IntArray
from dtfl_private.report.tables.plain import plain_table
from dtfl_private.report.words.numbers import number_of

# With more classes a client's largest ones are named instead of a column for each class.
MOST_COLUMNS = 12
LARGEST_NAMED = 5

# With more clients the smallest and the largest are shown.
MOST_ROWS = 40
ROWS_OF_EACH_END = 15


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
    table = plain_table(f"over {number_of(len(sizes_K), 'client')}", "", "min", "median", "max")
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
