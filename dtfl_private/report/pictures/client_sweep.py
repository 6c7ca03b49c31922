"""Pictures of an attacked sweep: leakage by group of runs, and its rank correlations with what clients are like."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dtfl_private.report.client_sweep import TRAITS, ClientSweep
from dtfl_private.report.pictures.saving import PictureForm, literal, picture_bytes
from dtfl_private.report.pictures.themes import PAPER, Theme

TRAIT_LABELS = {"label_entropy": "variety of labels (entropy)", "records": "images (N_k)", "oddness": "odd images"}

# Inches of a panel, and of what stands beside and around all.
PANEL, MARGIN = (2.5, 1.45), (0.7, 1.2)
MARKERS = "os^Dv"
# Of the room between two ticks, what markers of several series spread over.
SPREAD = 0.5


def correlations_picture(sweep: ClientSweep, *, form: PictureForm = "png", theme: Theme = PAPER) -> bytes:
    """Return a picture of how leakage goes with each trait, over the tiers: a row for each attack, all runs."""
    with mpl.rc_context(theme.rc):
        drawn, panels = _panels(sweep, len(TRAITS))
        places = {tier: place for place, tier in enumerate(sweep.tiers)}
        for row, attack in enumerate(sweep.attacks):
            for column, trait in enumerate(TRAITS):
                for number, aux in enumerate(sweep.sources):
                    found = [sweep.correlation(trait, attack, tier, aux) for tier in sweep.tiers]
                    bars = [
                        (places[one.tier], one.found.value, one.found.low, one.found.high)
                        for one in found
                        if one is not None
                    ]
                    _bars(panels[row][column], bars, number, len(sweep.sources), aux, theme)
                panels[row][column].set(ylim=(-1, 1), xticks=range(len(sweep.tiers)), xlim=(-0.6, len(places) - 0.4))
                panels[row][column].set_xticklabels([str(tier) for tier in sweep.tiers])
        for column, trait in enumerate(TRAITS):
            panels[0][column].set_title(TRAIT_LABELS[trait], fontsize=9)
            panels[-1][column].set_xlabel("tier")
        title = f"rank correlation of a client's leakage, within runs (n = {_runs(sweep)} runs; bars: 95 % intervals)"
        return _finished(drawn, panels, sweep, title, form)


def leakage_picture(sweep: ClientSweep, *, form: PictureForm = "png", theme: Theme = PAPER) -> bytes:
    """Return a picture of mean leakage by group of runs: a row for each attack, a column for each kind of knowledge."""
    with mpl.rc_context(theme.rc):
        drawn, panels = _panels(sweep, len(sweep.sources))
        for row, attack in enumerate(sweep.attacks):
            for column, aux in enumerate(sweep.sources):
                for number, tier in enumerate(sweep.tiers):
                    means = [sweep.mean(attack, tier, aux, group) for group in sweep.groups]
                    bars = [
                        (
                            place,
                            one.mean,
                            one.mean if one.ci_low is None else one.ci_low,
                            one.mean if one.ci_high is None else one.ci_high,
                        )
                        for place, one in enumerate(means)
                        if one is not None and one.mean is not None
                    ]
                    _bars(panels[row][column], bars, number, len(sweep.tiers), f"tier {tier}", theme)
                panels[row][column].set(xticks=range(len(sweep.groups)), xlim=(-0.6, len(sweep.groups) - 0.4))
                panels[row][column].set_xticklabels([literal(group) for group in sweep.groups], rotation=60, fontsize=6)
        for column, aux in enumerate(sweep.sources):
            panels[0][column].set_title(f"auxiliary data: {literal(aux)}", fontsize=9)
        clients = len({(point.group, point.seed, point.client) for point in sweep.points}) // len(sweep.groups)
        title = f"share of the way from the guess to the truth (n = {clients} clients each; bars: 95 % intervals)"
        return _finished(drawn, panels, sweep, title, form)


def _runs(sweep: ClientSweep) -> int:
    return len({(point.group, point.seed) for point in sweep.points})


def _panels(sweep: ClientSweep, columns: int) -> tuple[Figure, Sequence[Sequence[Axes]]]:
    rows = len(sweep.attacks)
    size = (PANEL[0] * columns + MARGIN[0], PANEL[1] * rows + MARGIN[1])
    drawn = Figure(figsize=size, layout="constrained")
    panels = drawn.subplots(rows, columns, sharex="col" if columns == len(TRAITS) else True, squeeze=False)
    return drawn, panels.tolist()


def _bars(
    axes: Axes,
    bars: Sequence[tuple[float, float, float, float]],
    number: int,
    series: int,
    label: str,
    theme: Theme,
) -> None:
    """Draw values with their intervals: place, value, low, high of each."""
    shift = SPREAD * (number - (series - 1) / 2) / max(series - 1, 1)
    axes.errorbar(
        [place + shift for place, *_ in bars],
        [value for _, value, _, _ in bars],
        yerr=[[value - low for _, value, low, _ in bars], [high - value for _, value, _, high in bars]],
        color=theme.colours[number % len(theme.colours)],
        marker=MARKERS[number % len(MARKERS)],
        markersize=3.5,
        linewidth=0,
        elinewidth=1.1,
        capsize=2,
        label=literal(label),
    )


def _finished(
    drawn: Figure, panels: Sequence[Sequence[Axes]], sweep: ClientSweep, title: str, form: PictureForm
) -> bytes:
    for own, attack in zip(panels, sweep.attacks, strict=True):
        own[0].set_ylabel(literal(attack), fontsize=8)
        for axes in own:
            if not any(np.size(line.get_xydata()) for line in axes.get_lines()):
                axes.tick_params(left=False, labelleft=False)  # nothing was measured: no scale
            axes.axhline(0, color="grey", linestyle=":", linewidth=1)
            axes.grid(axis="y", alpha=0.6)
    # Series are the same in all panels, but not in all of them there is something to draw.
    found = {
        label: handle
        for own in panels
        for axes in own
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    drawn.legend(list(found.values()), list(found), loc="outside lower center", ncols=5, fontsize=8)
    drawn.suptitle(literal(title), fontsize=9)
    return picture_bytes(drawn, form)
