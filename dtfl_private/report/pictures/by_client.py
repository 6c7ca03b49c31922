"""The picture of leakage client by client."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dtfl_private.leakage.metrics import find_metric
from dtfl_private.report.pictures.saving import PictureForm, drawable, picture_bytes
from dtfl_private.report.pictures.themes import PAPER, Theme
from dtfl_private.verdicts.client_comparison import ClientComparison, ClientLeakage

MOST_DRAWN = 40
"""Clients: the most exposed of more."""

WIDTH, EACH, BORDER = 4.6, 0.16, 1.1
"""Inches: of the picture, of each client's line, of axis and legend."""


def drawn_clients(one: ClientComparison) -> list[ClientLeakage]:
    """Return the clients that are drawn, the most exposed first."""
    return sorted(one.clients, key=lambda client: (-client.shrunk, client.client))[:MOST_DRAWN]


def picture_height(one: ClientComparison) -> float:
    """Return how high the picture is, in inches."""
    return BORDER + EACH * min(len(one.clients), MOST_DRAWN)


def by_client_picture(one: ClientComparison, *, form: PictureForm = "png", theme: Theme = PAPER) -> bytes:
    """Return a picture of one comparison: each client's leakage, as judged and as expected with 95 %."""
    clients = drawn_clients(one)
    with mpl.rc_context(theme.rc):
        figure = Figure(figsize=(WIDTH, picture_height(one)), layout="constrained")
        axes = figure.subplots()
        _draw(axes, clients, {*one.more_exposed, *one.less_exposed}, theme)
        axes.set_yticks(range(len(clients)), [str(client.client) for client in clients], fontsize=7)
        axes.set_ylim(len(clients) - 0.4, -0.6)
        label = drawable(find_metric(one.metric).label)
        axes.set(xlabel=f"{label}: share of the way from the guess to the truth", ylabel="client")
        axes.grid(axis="x", alpha=0.6)
        figure.legend(loc="outside lower center", ncols=2, fontsize=8)
        return picture_bytes(figure, form)


def _draw(axes: Axes, clients: Sequence[ClientLeakage], apart: set[int], theme: Theme) -> None:
    """Draw expected leakage with intervals, those beyond chance in another colour and shape, and means as judged."""
    axes.axvline(float(np.mean([client.recovered for client in clients])), color=theme.faint, linewidth=1)
    for are_apart, colour, marker, label in (
        (False, theme.colours[0], "o", "expected, 95% interval"),
        (True, theme.colours[1], "D", "apart from others beyond chance"),
    ):
        places = [place for place, client in enumerate(clients) if (client.client in apart) is are_apart]
        if not places:
            continue
        own = [clients[place] for place in places]
        centres = np.array([client.shrunk for client in own])
        ends = np.abs([[client.ci_low, client.ci_high] for client in own] - centres[:, None]).T
        axes.errorbar(centres, places, xerr=ends, fmt=marker, color=colour, markersize=4, capsize=2, label=label)
    judged = [client.recovered for client in clients]
    axes.plot(judged, range(len(clients)), "x", color=theme.ink, markersize=4, label="mean of its judged records")
