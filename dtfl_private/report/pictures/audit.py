"""The pictures of an audit: test accuracy against leakage, and leakage tier by tier."""

import re
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dtfl_private.leakage.metrics import find_metric
from dtfl_private.leakage.results.result import Result
from dtfl_private.report.pictures.accuracy_leakage import SIZE, accuracy_leakage_picture, accuracy_leakage_series
from dtfl_private.report.pictures.by_client import by_client_picture
from dtfl_private.report.pictures.fitting import fitted
from dtfl_private.report.pictures.leakage import attacks_first, draw_leakage
from dtfl_private.report.pictures.saving import PictureForm, picture_bytes
from dtfl_private.report.pictures.themes import PAPER, Theme
from dtfl_private.verdicts.findings import Findings
from dtfl_private.verdicts.selected_results import drawn_metrics, is_guess, is_measure, of_metric

# More attacks in one picture would hide each other.
MOST_ATTACKS = 4


def drawn_results(findings: Findings, metric: str) -> list[Result]:
    """Return what a picture of one metric shows: the attacks that are strongest at some tier, and trivial guesses.

    At most `MOST_ATTACKS` attacks: those that are strongest at most tiers.
    """
    kinds = [_kind(result) for result in of_metric(findings.strongest, metric)]
    ranked = sorted(dict.fromkeys(kinds), key=kinds.count, reverse=True)[:MOST_ATTACKS]
    results = [result for result in of_metric(findings.results, metric) if not is_measure(result)]
    return [result for result in results if is_guess(result) or _kind(result) in ranked]


def _kind(result: Result) -> tuple[object, ...]:
    return result.source, result.adversary, result.adaptive, *sorted(map(str, result.settings.items()))


def by_tier_picture(findings: Findings, metric: str, *, form: PictureForm = "png", theme: Theme = PAPER) -> bytes:
    """Return a picture of one metric over the tiers: the strongest attacks with 95 % intervals, undefended, guesses.

    Raises:
        ValueError: no attack has been judged by this metric.
    """
    chosen = drawn_results(findings, metric)
    if not chosen:
        raise ValueError(f"there are no results with the metric {metric!r}")
    with mpl.rc_context(theme.rc):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        draw_leakage(axes, chosen)
        _whole_tiers(axes, chosen)
        axes.set_ylim(*fitted(_heights(chosen), find_metric(metric).limits))
        figure.legend(handles=attacks_first(axes), loc="outside lower center", ncols=2, fontsize=8)
        return picture_bytes(figure, form)


def _heights(results: Sequence[Result]) -> list[float]:
    """Return all that a picture over tiers must have room for."""
    ends = [(result.ci_low, result.ci_high, result.undefended, result.baseline) for result in results]
    return [value for values in ends for value in values if value is not None]


def _whole_tiers(axes: Axes, results: Sequence[Result]) -> None:
    tiers = sorted({result.tier for result in results})
    axes.set_xlim(tiers[0] - 0.4, tiers[-1] + 0.4)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


OF_CLIENTS = ("ssim", "token-accuracy", "auc")
"""Metrics by which clients are compared, where each is drawn."""


def audit_pictures(findings: Findings) -> dict[str, bytes]:
    """Return the PNG files of an audit's folder, by name; none where no attack has been judged.

    No name leads out of the folder, whatever the findings call a metric: they may come from anybody.
    """
    pictures = {_file_name(metric): by_tier_picture(findings, metric) for metric in drawn_metrics(findings)}
    drawn = {metric: [one for one in findings.by_client if one.metric == metric] for metric in OF_CLIENTS}
    for metric, own in drawn.items():
        if own:
            pictures[f"by-client-{metric}.png"] = by_client_picture(min(own, key=lambda one: (one.p_value, one.tier)))
    if accuracy_leakage_series(findings):
        pictures["accuracy-leakage.png"] = accuracy_leakage_picture(findings)
    return pictures


def _file_name(metric: str) -> str:
    return f"leakage-{re.sub(r'[^A-Za-z0-9.-]+', '_', metric)}.png"
