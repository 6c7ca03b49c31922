"""Predictions as tables for the terminal, as CSV and as JSON."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from dtfl_private.files.writing import path_text
from dtfl_private.printable import printable, short_name
from dtfl_private.report.tables.plain import as_printed, plain_table

# A spreadsheet takes a cell that begins so for a formula, and computes it.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, kw_only=True)
class PredictedFile:
    """A file of an image or a text, its most probable classes with probabilities, and its true class if it is known."""

    file: Path
    top: Sequence[tuple[str, float]]
    true: str | None


def predictions_table(images: Sequence[PredictedFile]) -> Table:
    """Return a row for each file and class that is shown of it; the file's name stands in the first.

    A probability and its class share a column, so that long names of files and classes still stand side by side.
    """
    known = any(image.true is not None for image in images)
    table = plain_table("", "file", "probability, class", *["right"] * known, right=False)
    table.columns[0].overflow = "fold"
    for image in images:
        for place, (name, probability) in enumerate(image.top):
            file = path_text(image.file) if place == 0 else ""
            right = [_right(image) if place == 0 else ""] * known
            table.add_row(as_printed(file), as_printed(f"{probability:.4f} {short_name(name)}"), *right)
    return table


def _right(image: PredictedFile) -> str:
    """Return whether the most probable class is the true one; nothing where that is not known."""
    if image.true is None:
        return ""
    return "yes" if image.top[0][0] == image.true else "no"


def recall_table(recall: Mapping[str, float], files: Mapping[str, int], many: str) -> Table:
    """Return a row for each class: how many files it has, images or texts, and the share that was recognised."""
    table = plain_table("", "class", many, "recall")
    for name, share in recall.items():
        table.add_row(as_printed(name), f"{files[name]:,}", f"{share:.4f}")
    return table


def predictions_csv(images: Sequence[PredictedFile], shown: int) -> str:
    """Return a line for each image; ``shown`` classes of each. No cell can be taken for a formula."""
    known = any(image.true is not None for image in images)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    more = [name for rank in range(2, shown + 1) for name in (f"class_{rank}", f"probability_{rank}")]
    writer.writerow(["file", "class", "probability", *more, *["true_class"] * known])
    for image in images:
        ranked = [cell for name, probability in image.top for cell in (_cell(name), f"{probability:.6f}")]
        writer.writerow([_cell(path_text(image.file)), *ranked, *[_cell(image.true or "")] * known])
    return text.getvalue()


def _cell(text: str) -> str:
    """Return a text of unknown origin as a cell of CSV: printable, and behind an apostrophe if it begins a formula."""
    shown = printable(text)
    return f"'{shown}" if text.startswith(FORMULA) or shown.lstrip().startswith(FORMULA) else shown
