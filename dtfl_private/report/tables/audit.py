"""What an audit prints at its end: the verdict tier by tier, whether it is valid, which devices are most exposed."""

from collections.abc import Mapping

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dtfl_private.leakage.metrics import find_metric
from dtfl_private.leakage.results.result import Result
from dtfl_private.printable import printable
from dtfl_private.report.tables.exposure import exposure_table
from dtfl_private.report.tables.plain import as_printed, plain_table
from dtfl_private.report.words.assumed import assumed_sentences
from dtfl_private.report.words.audit import (
    REMEDY,
    auxiliary_curve_text,
    check_text,
    convergence_text,
    decided_by,
    fell_back_text,
    overall,
)
from dtfl_private.report.words.by_client import by_client_lines
from dtfl_private.report.words.results import advantage, figure, interval, probability, shape
from dtfl_private.verdicts.findings import Convergence, Findings, Level
from dtfl_private.verdicts.selected_results import by_tier, failed_checks, is_valid

# Shape, then colour: each tells the levels apart without the other.
SIGNS: Mapping[Level, tuple[str, str]] = {
    "exposed": ("▲", "bold red"),
    "partly exposed": ("◆", "yellow"),
    "not shown to leak": ("○", "blue"),
    "invalid": ("✕", "bold magenta"),
}


def audit_output(findings: Findings) -> list[RenderableType]:
    """Return all that the command prints of its findings, in order."""
    shown: list[RenderableType] = [verdict_table(findings)] if findings.verdict else []
    shown += [Text(printable(line)) for line in decision_lines(findings)]
    if findings.clients and is_valid(findings):
        shown.append(exposure_table(findings))
    if is_valid(findings):
        shown += [Text(printable(f"by client: {line}")) for line in by_client_lines(findings)]
    if findings.convergence is not None and is_valid(findings):
        shown.append(_convergence_line(findings.convergence))
    if is_valid(findings) and (fallen := fell_back_text(findings)) is not None:
        shown.append(Text(printable(f"fell back to a trivial guess: {fallen}"), style="bold yellow"))
    if is_valid(findings) and (curve := auxiliary_curve_text(findings)) is not None:
        shown.append(Text(printable(f"auxiliary data: {curve}")))
    shown += [Text(printable(sentence), style="bold") for sentence in assumed_sentences(findings)]
    sanity = Text(printable(sanity_line(findings)), style="" if is_valid(findings) else "bold magenta")
    remedy = [f"what to try: {REMEDY}"] if failed_checks(findings) else []
    return [*shown, sanity, *remedy, overall(findings)]


def verdict_table(findings: Findings) -> Table:
    """Return a row per tier: its level, the strongest attack, the trivial guess, and any undefended value."""
    title = "verdict: the strongest attack at each tier, and the best trivial guess"
    if not is_valid(findings):
        title = "verdict: INVALID, do not use these figures"
    undefended = any(verdict.strongest.undefended is not None for verdict in findings.verdict)
    columns = ("tier", "verdict", "attack", "metric", "reached", "95% interval", "guess")
    table = plain_table(title, *columns, *["undefended"] * undefended)
    for column in table.columns[1:4]:
        column.justify = "left"
    for verdict in by_tier(findings.verdict):
        best = verdict.strongest
        table.add_row(
            f"{verdict.tier} {shape(verdict.cut)}",
            _level(verdict.level if is_valid(findings) else "invalid"),
            as_printed(verdict.attack),
            as_printed(find_metric(best.metric).label),
            figure(best.value, best.metric),
            interval(best),
            _guess(best),
            *[figure(best.undefended, best.metric)] * undefended,
        )
    table.columns[1].no_wrap = True
    if is_valid(findings) and any(verdict.level == "not shown to leak" for verdict in findings.verdict):
        table.caption = "not shown to leak: no attack got clearly beyond a guess, which proves no safety"
        table.caption_justify = "left"
    return table


def decision_lines(findings: Findings) -> list[str]:
    """Return for each tier whose verdict rests on another result than the one in the table which one that is."""
    if not is_valid(findings):
        return []
    return [
        f"tier {verdict.tier} is {verdict.level} by {decided_by(verdict)} {figure(one.value, one.metric)}"
        + ("" if one.advantage is None else f", beyond the guess by {advantage(one)}")
        + ("" if one.p_value is None else f", p {probability(one.p_value)}")
        for verdict in by_tier(findings.verdict)
        if (one := verdict.decided_by) is not None and one != verdict.strongest
    ]


def _level(level: Level) -> Text:
    sign, style = SIGNS[level]
    return Text(f"{sign} {level}", style=style)


def _guess(result: Result) -> Text:
    name = f" {result.baseline_name}" if result.baseline_name else ""
    return as_printed(figure(result.baseline, result.metric) + name)


def _convergence_line(convergence: Convergence) -> Text:
    line = printable(f"convergence: {convergence_text(convergence)}")
    return Text(line, style="" if convergence.converged else "bold yellow")


def sanity_line(findings: Findings) -> str:
    """Return whether the audit is valid, and by which checks."""
    failed = failed_checks(findings)
    if failed:
        return f"INVALID: sanity check failed, do not use these figures: {'; '.join(map(check_text, failed))}"
    if not findings.valid:
        return "INVALID: the audit says of itself that it is not valid, do not use these figures"
    if not findings.sanity:
        return "no sanity check was made: failures of attacks prove nothing"
    return f"sanity checks passed: {'; '.join(map(check_text, findings.sanity))}"
