"""An audit and a report of attacks in a few lines, and as tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from dtfl_private.html_table import badge_html, table_html
from dtfl_private.leakage.results.result import Result
from dtfl_private.printable import one_line
from dtfl_private.report.words.audit import decided_by, overall, tiers_named
from dtfl_private.report.words.numbers import number_of
from dtfl_private.report.words.results import attack_labels, figure, interval, shape
from dtfl_private.verdicts.findings import Findings, Level

BADGE: Mapping[Level, str] = {
    "exposed": "bad",
    "partly exposed": "doubtful",
    "not shown to leak": "neutral",
    "invalid": "bad",
}


def audit_text(findings: Findings, report: Path) -> str:
    """Return an audit in two lines: its verdict over all tiers, and where its report is."""
    return "\n".join(map(one_line, (f"Audit of '{findings.run}': {overall(findings)}", f"report: {report}")))


def audit_html(findings: Findings, report: Path) -> str:
    """Return an audit as a table for a notebook: of each tier the verdict in a word and in a sentence."""
    rows = [
        (
            f"{verdict.tier} ({shape(verdict.cut)})",
            badge_html(verdict.level, BADGE[verdict.level]),
            decided_by(verdict),
            verdict.sentence,
        )
        for verdict in sorted(findings.verdict, key=lambda verdict: verdict.tier)
    ]
    notes = [overall(findings), f"report: {report}"]
    return table_html(f"Audit of {findings.run}", ("tier", "verdict", "decided by", "in words"), rows, notes)


def attack_text(results: Sequence[Result], path: Path) -> str:
    """Return a report of attacks in two lines: which attacks there were, and where their results are."""
    attacks = [name for result, name in zip(results, attack_labels(results), strict=True) if result.adversary]
    tiers = sorted({result.tier for result in results})
    where = f" at {tiers_named(tiers)}" if tiers else ""
    names = ", ".join(dict.fromkeys(attacks)) or "no attack"
    lines = (f"AttackReport: {names}{where}, {number_of(len(results), 'result')}", f"results: {path}")
    return "\n".join(map(one_line, lines))


def attack_html(results: Sequence[Result], path: Path) -> str:
    """Return a report of attacks as a table for a notebook, a row for each figure."""
    rows = [
        (
            result.tier,
            name,
            result.metric,
            figure(result.value, result.metric),
            interval(result),
            figure(result.baseline, result.metric),
            result.n,
        )
        for result, name in zip(results, attack_labels(results), strict=True)
    ]
    columns = ("tier", "attack", "metric", "value", "95% interval", "trivial guess", "n")
    return table_html("Attacks", columns, rows, [f"results: {path}"])
