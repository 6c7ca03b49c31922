"""The picture of a run's course: accuracy over rounds and over simulated time, tiers over rounds."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dtfl_private.files.writing import write_atomic
from dtfl_private.report.pictures.saving import literal, picture_bytes
from dtfl_private.training.round_record import Record


def plot_training(records: Sequence[Record], path: Path, *, title: str) -> None:
    """Write a picture of one run, PNG or SVG by the ending."""
    plot_runs({"": records}, path, title=title)


def plot_runs(runs: Mapping[str, Sequence[Record]], path: Path, *, title: str) -> None:
    """Write a picture of runs, PNG or SVG by the ending: their test accuracies, and the tiers of the first one.

    Args:
        runs: records of the finished rounds, by the name for the legend.
        path: file to write.
        title: heading of the picture.
    """
    # A Figure of its own leaves no global state behind, as pyplot would.
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(10, 3.1), layout="constrained")
        over_rounds, over_time, tiers = figure.subplots(1, 3)
        _accuracy(over_rounds, runs, lambda record: record["round"], "round")
        over_rounds.xaxis.set_major_locator(MaxNLocator(integer=True))
        _accuracy(over_time, runs, lambda record: record["virtual_time_s"], _time_label(runs))
        first, records = next(iter(runs.items()))
        _tiers(tiers, records, f"clients, {literal(first)}" if len(runs) > 1 else "clients")
        figure.suptitle(literal(title))
        write_atomic(path, picture_bytes(figure, "svg" if path.suffix == ".svg" else "png"))


def _time_label(runs: Mapping[str, Sequence[Record]]) -> str:
    measured = [record.get("clock") == "wall" for records in runs.values() for record in records]
    return "time, s" if all(measured) else "simulated time, s"


def _accuracy(
    axes: Axes, runs: Mapping[str, Sequence[Record]], position: Callable[[Record], float], label: str
) -> None:
    for name, records in runs.items():
        accuracy = [record["test_accuracy"] for record in records]
        axes.plot([position(record) for record in records], accuracy, linewidth=1.2, marker=".", label=literal(name))
    axes.set(xlabel=label, ylabel="test accuracy", xlim=(0, None), ylim=(0, 1))
    axes.grid(alpha=0.3)
    if len(runs) > 1:
        axes.legend(loc="lower right", fontsize=8)


def _tiers(axes: Axes, records: Sequence[Record], label: str) -> None:
    counts = [Counter(record["tiers"].values()) for record in records]
    used = sorted({tier for count in counts for tier in count})
    rounds = [record["round"] for record in records]
    bottom = np.zeros(len(records))
    colours = mpl.colormaps["viridis"](np.linspace(0.1, 0.9, max(used)))
    for tier in used:
        height = np.array([count[tier] for count in counts])
        axes.bar(rounds, height, bottom=bottom, width=1.0, color=colours[tier - 1], label=str(tier))
        bottom += height
    axes.set(xlabel="round", ylabel=label, xlim=(rounds[0] - 0.5, rounds[-1] + 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(title="tier m", fontsize=8, title_fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
