"""The picture of how a run does in the end: what is taken for what, recall by class, calibration."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dtfl_private.files.writing import write_atomic
from dtfl_private.printable import printable
from dtfl_private.report.pictures.saving import literal, picture_bytes
from dtfl_private.report.words.judged import reported

# With more classes they are numbered, and cells bear no numbers.
MOST_NAMED = 20
MOST_WRITTEN = 12
# Of a class's name in a picture.
LONGEST_NAME = 16


def plot_judged(summary: Mapping[str, Any], path: Path, *, title: str) -> None:
    """Write a PNG picture of a run's model on test images: of the selected round, where that is known.

    Args:
        summary: the run's.
        path: file to write.
        title: heading of the picture.
    """
    model = reported(summary)
    test = model.test
    names = [row["class"] for row in test["per_class"]]
    # A Figure of its own leaves no global state behind, as pyplot would.
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(13, 4.4), layout="constrained")
        confusion, recall, reliability = figure.subplots(1, 3, width_ratios=(1.25, 1.25, 1))
        _confusion(figure, confusion, np.array(test["confusion"]), names)
        _recall(recall, test["per_class"])
        _reliability(reliability, test)
        images = f"{test['n']:,} {summary['judged_on']} images"
        figure.suptitle(literal(f"{title}: round {model.round} on {images}, accuracy {test['accuracy']:.3f}"))
        write_atomic(path, picture_bytes(figure, "png"))


def _confusion(figure: Figure, axes: Axes, counts_CC: Any, names: Sequence[str]) -> None:
    """Draw which share of each true class is taken for which."""
    images_C = counts_CC.sum(axis=1, keepdims=True)
    shares_CC = np.where(images_C > 0, counts_CC / np.maximum(images_C, 1), np.nan)
    image = axes.imshow(shares_CC, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    axes.set(xlabel="predicted", ylabel="true", title="confusion matrix")
    _class_ticks(axes, names, "x")
    _class_ticks(axes, names, "y")
    if len(names) <= MOST_WRITTEN:
        for (true, predicted), count in np.ndenumerate(counts_CC):
            dark = shares_CC[true, predicted] > 0.5
            axes.text(
                predicted, true, f"{count}", ha="center", va="center", fontsize=6, color="white" if dark else "black"
            )


def _recall(axes: Axes, per_class: Sequence[Mapping[str, Any]]) -> None:
    """Draw a bar for each class, the worst first; those without images are left out."""
    there = sorted((row for row in per_class if row["support"]), key=lambda row: row["recall"])
    axes.barh(range(len(there)), [row["recall"] for row in there], height=0.8, color="tab:blue")
    axes.set(xlim=(0, 1), ylim=(len(there) - 0.4, -0.6), xlabel="recall", title="recall by class, the worst first")
    if len(there) <= MOST_NAMED:
        numbers = {row["class"]: number for number, row in enumerate(per_class)}
        names = [_name(numbers[row["class"]], row["class"]) for row in there]
        axes.set_yticks(range(len(there)), names, fontsize=7)
    else:
        axes.set(ylabel=f"{len(there)} classes", yticks=[])
    axes.grid(axis="x", alpha=0.3)


def _reliability(axes: Axes, test: Mapping[str, Any]) -> None:
    """Draw how often the predicted class is right, by how sure the network is; and how many images that is."""
    bins = [one for one in test["calibration"] if one["n"]]
    axes.plot([0, 1], [0, 1], "--", color="grey", linewidth=1)
    most = max(one["n"] for one in bins)
    axes.bar(
        [(one["above"] + one["up_to"]) / 2 for one in bins],
        [0.25 * one["n"] / most for one in bins],
        width=[0.9 * (one["up_to"] - one["above"]) for one in bins],
        color="tab:grey",
        alpha=0.4,
    )
    axes.plot(
        [one["confidence"] for one in bins],
        [one["accuracy"] for one in bins],
        marker="o",
        markersize=4,
        color="tab:red",
    )
    axes.set(xlim=(0, 1), ylim=(0, 1.02), aspect="equal")
    axes.set(xlabel="confidence (bars: how many images)", ylabel="accuracy")
    axes.set_title(f"calibration: expected error {test['ece']:.3f}")


def _class_ticks(axes: Axes, names: Sequence[str], which: str) -> None:
    if len(names) <= MOST_NAMED:
        shown = [_name(number, name) for number, name in enumerate(names)]
        if which == "x":
            axes.set_xticks(range(len(names)), shown, rotation=90, fontsize=7)
        else:
            axes.set_yticks(range(len(names)), shown, fontsize=7)


def _name(number: int, name: str) -> str:
    """Return a class's name; a long one cut, with the number of the class, as others may begin alike."""
    shown = printable(name)
    return literal(shown if len(shown) <= LONGEST_NAME else f"{number} {shown[: LONGEST_NAME - 5]}...")
