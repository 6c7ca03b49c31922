"""The picture of a run's course: accuracy over simulated time, tiers over rounds."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from dtfl_private.record import Record


def plot_training(records: Sequence[Record], path: Path, *, title: str) -> None:
    """Write a picture of a run (PNG or SVG by the ending): test accuracy, and how many clients had which tier."""
    # No pyplot: figures made here leave no global state behind. The salt makes SVG files reproducible.
    with mpl.rc_context({"svg.hashsalt": "dtfl-private", "font.size": 9}):
        figure = Figure(figsize=(8.5, 3.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        accuracy = [record["test_accuracy"] for record in records]
        left.plot([record["virtual_time_s"] for record in records], accuracy, marker=".", color="#1f5fa8")
        left.set(xlabel="simulated time, s", ylabel="test accuracy", xlim=(0, None), ylim=(0, 1))
        left.grid(alpha=0.3)
        rounds = left.twiny()
        rounds.set_xlim(left.get_xlim())
        marks = np.unique(np.linspace(0, len(records) - 1, 6).round().astype(int))
        rounds.set_xticks([records[i]["virtual_time_s"] for i in marks], [str(records[i]["round"]) for i in marks])
        rounds.set_xlabel("round")
        _tier_shares(right, records)
        figure.suptitle(title)
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)


def _tier_shares(axes: "mpl.axes.Axes", records: Sequence[Record]) -> None:
    counts = [Counter(record["tiers"].values()) for record in records]
    tiers = sorted(set().union(*counts))
    rounds = [record["round"] for record in records]
    bottom = np.zeros(len(records))
    colours = mpl.colormaps["viridis"](np.linspace(0.1, 0.9, len(tiers)))
    for tier, colour in zip(tiers, colours, strict=True):
        height = np.array([count[tier] for count in counts])
        axes.bar(rounds, height, bottom=bottom, width=1.0, color=colour, label=f"tier {tier}")
        bottom += height
    axes.set(xlabel="round", ylabel="clients", xlim=(rounds[0] - 0.5, rounds[-1] + 0.5))
    axes.legend(title="client modules", fontsize=8, title_fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
