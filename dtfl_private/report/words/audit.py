"""An audit's findings as people read them: figures, the overall verdict, and what its measures do and do not say."""

from collections.abc import Sequence

from dtfl_private.leakage.metrics import find_metric
from dtfl_private.report.words.numbers import listed
from dtfl_private.report.words.results import NONE, figure, probability
from dtfl_private.verdicts.auxiliary_point import SIZES
from dtfl_private.verdicts.findings import Convergence, Findings, Level, SanityCheck, TierVerdict
from dtfl_private.verdicts.selected_results import curve_metric, curve_of, fell_back, is_valid, noun_of_curve

LEVELS: tuple[Level, ...] = ("exposed", "partly exposed", "not shown to leak", "invalid")
"""From the worst on."""


STILL_RISING = 0.02
"""A curve whose last step brings more SSIM than this is called rising."""


REMEDY = (
    "more effort (--effort, or an attack's own steps), other attacks (--attack), more auxiliary images (--aux-images)"
)
"""What to try when attacks fail where they must succeed."""


def decided_by(verdict: TierVerdict) -> str:
    """Return which result a verdict rests on, for example "hybrid by SSIM"."""
    if verdict.decided_by is None:
        return NONE
    return f"{verdict.decided_by.source} by {find_metric(verdict.decided_by.metric).label}"


def false_alarms(findings: Findings) -> str | None:
    """Return how likely a false alarm in the verdict is, in a sentence; None where the file does not say."""
    if findings.chance is None:
        return None
    chance = findings.chance
    return (
        f"“Surely” is a p-value of {probability(chance.level)} or less, for each of {chance.tests} tests alike: if "
        f"nothing leaked, any tier would be called exposed or partly exposed in at most {chance.false_alarm_rate:.1%} "
        "of such audits"
    )


def tiers_named(tiers: Sequence[int]) -> str:
    """Return "tier 1" or "tiers 1, 2 and 3"."""
    return f"tier{'s' * (len(tiers) > 1)} {listed(tiers)}"


def check_text(check: SanityCheck) -> str:
    """Return what a check asked and got, for example "identity: decoder reached SSIM 0.998, needed: at least 0.990"."""
    metric = find_metric(check.metric)
    bound = "at least" if metric.exposing == "high" else "at most"
    if check.name == "random":
        bound = "not surely beyond"
    value, needed = figure(check.value, check.metric), figure(check.needed, check.metric)
    return f"{check.name}: {check.attack} reached {metric.label} {value}, needed: {bound} {needed}"


def convergence_text(convergence: Convergence) -> str:
    """Return what a repeated attack got, for example "tier 4, hybrid with twice the effort: SSIM 0.944 ..."."""
    metric, rise = convergence.metric, convergence.psnr
    value, doubled = figure(convergence.value, metric), figure(convergence.doubled, metric)
    reached, margins = [f"{find_metric(metric).label} {doubled} instead of {value}"], [f"{convergence.margin:g}"]
    exact = ""
    if rise is not None:
        reached.append(f"PSNR {figure(rise.doubled, 'psnr')} dB instead of {figure(rise.value, 'psnr')} dB")
        if rise.value < rise.exact:
            margins.append(f"{rise.margin:g} dB")
        else:
            exact = f"; from {rise.exact:g} dB on a rise of PSNR does not count"
    meaning = f"converged: no more than {' and '.join(margins)} above{exact}"
    if not convergence.converged:
        meaning = f"NOT converged: more than {' or '.join(margins)} above; it leaks at least this; audit again with "
        meaning += convergence.remedy
    return f"tier {convergence.tier}, {convergence.attack} with twice the effort: {', '.join(reached)} ({meaning})"


def fell_back_text(findings: Findings) -> str | None:
    """Return which attacks returned a trivial guess themselves, in a sentence; None if none did."""
    found = fell_back(findings)
    if not found:
        return None
    where: dict[tuple[str, str | None], list[int]] = {}
    for result in found:
        where.setdefault((result.source, result.baseline_name), []).append(result.tier)
    parts = [f"{name} in {tiers_named(tiers)} to {guess or 'a guess'}" for (name, guess), tiers in where.items()]
    return f"{listed(parts)}: the figures there are the guess's, and say only that these attacks found nothing better"


def auxiliary_curve_text(findings: Findings) -> str | None:
    """Return how leakage follows the attacker's data, in a sentence; None where there is no curve to speak of."""
    curve = curve_of(findings, curve_metric(findings))
    if len(curve) < 2:
        return None
    metric = find_metric(curve_metric(findings))
    reached = [f"{figure(point.result.value, metric.name)} with {point.images:,}" for point in curve]
    rise, more = curve[-1].result.value - curve[-2].result.value, curve[-1].images / curve[-2].images
    meaning = f"the last step, {more:.2g} times as many, brings {rise:+.{metric.digits}f}"
    if rise > STILL_RISING:
        meaning += f": still rising, so an adversary with more than {curve[-1].images:,} may get more"
    if curve[-1].images < SIZES[-1]:
        meaning += f"; the audit had no more to train on, so the curve ends before {SIZES[-1]:,}"
    result = curve[-1].result
    given = f"{listed(reached)} {noun_of_curve(findings)}"
    return f"tier {result.tier}, {result.source} reaches {metric.label} {given} ({meaning})"


def overall(findings: Findings) -> str:
    """Return the verdict over all tiers in one sentence."""
    if not is_valid(findings):
        return "This audit is invalid: it says nothing about how much leaks."
    by_level: dict[Level, list[int]] = {}
    for verdict in sorted(findings.verdict, key=lambda verdict: verdict.tier):
        by_level.setdefault(verdict.level, []).append(verdict.tier)
    parts = [f"{level} in {tiers_named(by_level[level])}" for level in LEVELS if level in by_level]
    if not parts:
        return "No tier was judged: see what was not tested."
    proof = ", which is no proof that they are safe there" if "not shown to leak" in by_level else ""
    return f"Clients' records are {listed(parts)}{proof}.{_never_used(findings)}"


def _never_used(findings: Findings) -> str:
    unused = unused_tiers(findings)
    if not unused:
        return ""
    return f" No client was in {tiers_named(unused)} in this run: there they were placed for the audit."


def unused_tiers(findings: Findings) -> list[int]:
    """Return which judged tiers are shallower than any that a client was in."""
    used = [int(tier) for client in findings.clients for tier in client.by_tier if tier.isdecimal()]
    judged = sorted(verdict.tier for verdict in findings.verdict)
    return [tier for tier in judged if used and tier < min(used)]
