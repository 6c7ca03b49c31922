"""What an audit's pictures show, in words: for readers who do not see them."""

from dtfl_private.leakage.metrics import find_metric
from dtfl_private.leakage.results.result import Result
from dtfl_private.report.pictures.accuracy_leakage import accuracy_leakage_series
from dtfl_private.report.pictures.audit import drawn_results
from dtfl_private.report.pictures.auxiliary_curve import DRAWN
from dtfl_private.report.words.numbers import listed
from dtfl_private.report.words.results import attack_labels, figure
from dtfl_private.verdicts.findings import Findings
from dtfl_private.verdicts.selected_results import curve_of, is_guess, leakage_metric, noun_of_curve, of_metric


def accuracy_leakage_text(findings: Findings) -> str:
    """Return the gist of `accuracy_leakage_picture`: each run's accuracy and the leakage of its tiers."""
    metric = leakage_metric(findings) or ""
    parts = []
    for series in accuracy_leakage_series(findings):
        tiers = [f"{figure(value, metric)} at tier {tier}" for tier, value, _, _ in series.points]
        parts.append(f"{series.name}: test accuracy {series.accuracy:.4f}, {listed(tiers)}")
    guesses = [result.baseline for result in of_metric(findings.strongest, metric) if result.baseline is not None]
    if guesses:
        parts.append(f"trivial guess: {_span(guesses, metric)}")
    heading = f"Scatter plot of test accuracy against {find_metric(metric).label} of the strongest attack on each tier"
    return f"{heading}. {'; '.join(parts)}."


def by_tier_text(findings: Findings, metric: str) -> str:
    """Return the gist of `by_tier_picture`: where each attack starts and ends, and what guesses reach."""
    shown = drawn_results(findings, metric)
    lines: dict[str, list[Result]] = {}
    for label, result in zip(attack_labels(shown), shown, strict=True):
        lines.setdefault(label, []).append(result)
    parts = [f"{name}{' (guess)' * is_guess(own[0])}: {_course(own, metric)}" for name, own in lines.items()]
    own_guesses = {result.source for result in shown if is_guess(result)}
    others: dict[str, list[float]] = {}
    for result in shown:
        if result.baseline is not None and result.baseline_name not in own_guesses:
            others.setdefault(result.baseline_name or "trivial guess", []).append(result.baseline)
    parts += [f"{name} (guess): {_span(values, metric)}" for name, values in others.items()]
    return f"Line chart of {find_metric(metric).label} by tier. {'; '.join(parts)}."


def auxiliary_curve_alt(findings: Findings) -> str:
    """Return the gist of `auxiliary_curve_picture`: what the attack gets with the fewest and with the most images."""
    parts, noun = [], noun_of_curve(findings)
    for metric in DRAWN:
        if curve := curve_of(findings, metric):
            ends = [f"{figure(one.result.value, metric)} with {one.images:,}" for one in (curve[0], curve[-1])]
            parts.append(f"{find_metric(metric).label} {' to '.join(ends)} {noun}")
    return f"Line chart of what one attack reaches by the number of auxiliary {noun}. {'; '.join(parts)}."


def _course(results: list[Result], metric: str) -> str:
    """Return where a line starts and ends, and the same undefended."""
    first, last = results[0], results[-1]
    text = f"{figure(first.value, metric)} at tier {first.tier}"
    if last is not first:
        text += f" to {figure(last.value, metric)} at tier {last.tier}"
    bare = [result.undefended for result in results if result.undefended is not None]
    return f"{text}, undefended {_span(bare, metric)}" if bare else text


def _span(values: list[float], metric: str) -> str:
    low, high = figure(min(values), metric), figure(max(values), metric)
    return low if low == high else f"{low} to {high}"
