"""The report of an audit as one HTML file: no script, nothing from elsewhere, all text from findings escaped."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dtfl_private.leakage.metrics import find_metric
from dtfl_private.leakage.results.result import Result
from dtfl_private.report.html.environment import environment, setting_text
from dtfl_private.report.html.picture_text import accuracy_leakage_text, auxiliary_curve_alt, by_tier_text
from dtfl_private.report.pictures.accuracy_leakage import accuracy_leakage_picture, accuracy_leakage_series
from dtfl_private.report.pictures.audit import by_tier_picture, drawn_results
from dtfl_private.report.pictures.auxiliary_curve import DRAWN, auxiliary_curve_picture
from dtfl_private.report.pictures.themes import DARK, LIGHT
from dtfl_private.report.tables.exposure import profile_rows, shown_clients
from dtfl_private.report.words import audit, meanings
from dtfl_private.report.words.results import attack_labels
from dtfl_private.verdicts import selected_results as selection
from dtfl_private.verdicts.findings import Compared, Findings, Training

SECTIONS: Mapping[str, str] = {
    "threat": "Who attacks, and what they know",
    "verdict": "Verdict, tier by tier",
    "trade": "Accuracy against leakage",
    "tiers": "Leakage by tier",
    "data": "Leakage against the attacker's data",
    "scheduled": "As scheduled",
    "gallery": "Reconstructions",
    "measures": "Measures without attack",
    "clients": "Exposure of each client",
    "guarantees": "Guarantees",
    "compared": "Compared with another run",
    "sanity": "Sanity checks",
    "untested": "What was not tested",
    "repeat": "How to repeat it",
    "results": "All results",
}
"""Headings by their anchor, in the page's order."""

# Metrics shown of clients where they really were; the last table has all.
SCHEDULED = ("psnr", "ssim", "ssim-worst-5", "lpips", "identifiability", "classifier-accuracy")


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A picture in two colour schemes as ``data:`` URIs, and what it shows in words and in figures."""

    title: str
    light: str
    dark: str
    alt: str
    metric: str
    rows: Sequence[tuple[str, Result]]


def audit_page(findings: Findings, galleries: Mapping[int, Sequence[tuple[str, bytes]]]) -> str:
    """Return report.html.

    Args:
        findings: all that the audit found; text in them may come from anybody.
        galleries: by tier, the caption and the PNG bytes of each picture of reconstructions.
    """
    template = environment().get_template("audit.html")
    page: str = template.render(
        f=findings,
        t=findings.training,
        sections=SECTIONS,
        valid=selection.is_valid(findings),
        failed=selection.failed_checks(findings),
        overall=audit.overall(findings),
        weak=_weak(findings),
        verdicts=selection.by_tier(findings.verdict),
        level_meanings=meanings.LEVEL_MEANING,
        false_alarms=audit.false_alarms(findings),
        meanings=_meanings(findings),
        trade=_trade(findings),
        series=accuracy_leakage_series(findings),
        by_tier=[_by_tier(findings, metric) for metric in selection.drawn_metrics(findings)],
        curve=_auxiliary_curve(findings),
        curve_says=audit.auxiliary_curve_text(findings),
        scheduled=_scheduled(findings),
        galleries=[
            (tier, [(caption, data_uri(picture, "image/png")) for caption, picture in galleries[tier]])
            for tier in sorted(galleries)
        ],
        measures=_measures(findings),
        clients=shown_clients(findings.clients),
        profiles=profile_rows(findings.clients),
        differences=_differences(findings),
        compared=_compared(findings),
        results=_in_order(findings.results),
    )
    return page


def data_uri(data: bytes, kind: str) -> str:
    """Return bytes as a ``data:`` URI of a media type."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _meanings(findings: Findings) -> list[tuple[str, str]]:
    """Return the label and the meaning of each metric that the verdict and the pictures speak of."""
    named = [result for verdict in findings.verdict for result in (verdict.strongest, verdict.decided_by) if result]
    names = dict.fromkeys([*(result.metric for result in named), *selection.drawn_metrics(findings)])
    found = [(find_metric(name).label, meanings.meaning(name)) for name in names]
    return [(label, text) for label, text in found if text]


def _weak(findings: Findings) -> list[str]:
    """Return in what the verdicts rest on attacks that are weaker than they could be."""
    fallen = audit.fell_back_text(findings)
    said = [] if fallen is None else [f"Fell back to a trivial guess: {fallen}"]
    if findings.convergence is not None and not findings.convergence.converged:
        said.append(f"Convergence: {audit.convergence_text(findings.convergence)}")
    return said


def _trade(findings: Findings) -> Drawn | None:
    metric = selection.leakage_metric(findings)
    if metric is None or not accuracy_leakage_series(findings):
        return None
    light, dark = (accuracy_leakage_picture(findings, form="svg", theme=theme) for theme in (LIGHT, DARK))
    return _drawn("Test accuracy against leakage", (light, dark), accuracy_leakage_text(findings), metric, [])


def _by_tier(findings: Findings, metric: str) -> Drawn:
    shown = drawn_results(findings, metric)
    light, dark = (by_tier_picture(findings, metric, form="svg", theme=theme) for theme in (LIGHT, DARK))
    rows = list(zip(attack_labels(shown), shown, strict=True))
    return _drawn(find_metric(metric).label, (light, dark), by_tier_text(findings, metric), metric, rows)


def _auxiliary_curve(findings: Findings) -> Drawn | None:
    if audit.auxiliary_curve_text(findings) is None:
        return None
    light, dark = (auxiliary_curve_picture(findings, form="svg", theme=theme) for theme in (LIGHT, DARK))
    rows = [(f"{point.images:,}", point.result) for metric in DRAWN for point in selection.curve_of(findings, metric)]
    return _drawn("Leakage against the attacker's data", (light, dark), auxiliary_curve_alt(findings), "ssim", rows)


def _drawn(
    title: str, pictures: tuple[bytes, bytes], alt: str, metric: str, rows: Sequence[tuple[str, Result]]
) -> Drawn:
    light, dark = (data_uri(picture, "image/svg+xml") for picture in pictures)
    return Drawn(title=title, light=light, dark=dark, alt=alt, metric=metric, rows=rows)


def _scheduled(findings: Findings) -> list[tuple[Result, Result | None]]:
    """Return the results on clients where they really were, each with the same result for all clients in that tier."""
    whole = {_key(result): result for result in findings.results}
    shown = [result for result in _in_order(findings.as_scheduled) if result.metric in SCHEDULED]
    chosen = shown or _in_order(findings.as_scheduled)
    return [(result, whole.get(_key(result))) for result in chosen]


def _key(result: Result) -> tuple[object, ...]:
    return result.tier, result.source, result.metric, result.adversary, result.adaptive


def _measures(findings: Findings) -> list[tuple[str, list[Result]]]:
    """Return the results of measures that mount no attack, by source."""
    found: dict[str, list[Result]] = {}
    for result in findings.results:
        if selection.is_measure(result):
            found.setdefault(result.source, []).append(result)
    return [(source, sorted(results, key=lambda one: (one.metric, one.tier))) for source, results in found.items()]


def _in_order(results: Sequence[Result]) -> list[Result]:
    """Return results by tier, within it attacks before guesses before measures, otherwise as they came."""
    return sorted(results, key=lambda one: (one.tier, selection.is_guess(one), selection.is_measure(one)))


def _differences(findings: Findings) -> list[tuple[str, str, str]]:
    """Return in what the two compared trainings differ: name, of this, of the other."""
    if findings.compared is None:
        return []
    rows = [
        (name.replace("_", " "), _field(findings.training, name), _field(findings.compared.training, name))
        for name in Training.model_fields
    ]
    return [row for row in rows if row[1] != row[2]]


def _field(training: Training, name: str) -> str:
    value = getattr(training, name)
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return f"{value:.4f}" if isinstance(value, float) else setting_text(value)


def _compared(findings: Findings) -> list[Compared]:
    rows = findings.compared.rows if findings.compared else ()
    return sorted(rows, key=lambda row: row.tier)
