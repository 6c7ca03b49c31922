"""Selection from an audit's findings: by metric, tier and kind of result, for tables and pictures."""

from collections.abc import Callable, Iterable

from dtfl_private.leakage.baselines import GUESSES
from dtfl_private.leakage.metrics import find_metric
from dtfl_private.leakage.results.result import Result
from dtfl_private.verdicts.auxiliary_point import AuxiliaryPoint
from dtfl_private.verdicts.findings import LEVELS, Compared, Findings, SanityCheck, TierVerdict
from dtfl_private.verdicts.verdict import DECIDING

# Shown first and drawn, where attacks reached any of them.
OF_REBUILT = ("ssim", "psnr", "token-accuracy", "rouge-l", "identifiability")

# Where an attack's whole interval beyond a trivial guess is 0 by one of these, what it rebuilt is that guess.
OF_PIXELS = ("mse", "psnr", "ssim", "token-accuracy")
EQUAL = 1e-6


def is_guess(result: Result) -> bool:
    """Return whether a result is that of a trivial guess or an oracle."""
    return result.source in GUESSES


def is_measure(result: Result) -> bool:
    """Return whether a result comes from a measure, which is no attack."""
    return result.adversary is None and not is_guess(result)


def leakage_metric(findings: Findings) -> str | None:
    """Return the metric by which accuracy is drawn against: SSIM, token accuracy, or what decided most verdicts."""
    there = {result.metric for result in findings.strongest}
    if main := next((metric for metric in ("ssim", "token-accuracy") if metric in there), None):
        return main
    # Of a tier without an attack, a proof is the strongest; it is no attack's.
    metrics = [verdict.strongest.metric for verdict in findings.verdict if verdict.strongest.metric in there]
    return max(dict.fromkeys(metrics), key=metrics.count, default=None)


def drawn_metrics(findings: Findings) -> list[str]:
    """Return the metrics that are drawn by tier: the usual ones of what is rebuilt, or those that decided verdicts."""
    there = dict.fromkeys(result.metric for result in findings.strongest)
    decisive = dict.fromkeys(verdict.strongest.metric for verdict in findings.verdict)
    of_rebuilt = [metric for metric in OF_REBUILT if metric in there]
    return of_rebuilt or [metric for metric in decisive if metric in there]


def of_metric(results: Iterable[Result], metric: str) -> list[Result]:
    """Return the results with a metric, by tier."""
    return sorted((result for result in results if result.metric == metric), key=lambda result: result.tier)


def fell_back(findings: Findings) -> list[Result]:
    """Return a result of each attack that returned a trivial guess itself at a tier, victim by victim; by tier."""
    found: dict[tuple[int, str], Result] = {}
    for result in findings.results:
        ends = (result.advantage_ci_low, result.advantage_ci_high)
        equal = all(end is not None and abs(end) < EQUAL for end in ends)
        if equal and result.adversary is not None and result.metric in OF_PIXELS and result.has_spread:
            found.setdefault((result.tier, result.source), result)
    return [found[key] for key in sorted(found)]


def exposes_more(metric: str) -> Callable[[float], float]:
    """Return a key that is larger for values that expose more."""
    return (lambda value: value) if find_metric(metric).exposing == "high" else (lambda value: -value)


def compared_rows(findings: Findings, metric: str) -> list[Compared]:
    """Return what is compared by a metric with another run, by tier; nothing where no run is compared."""
    rows = findings.compared.rows if findings.compared else ()
    return sorted((row for row in rows if row.metric == metric), key=lambda row: row.tier)


def curve_of(findings: Findings, metric: str) -> list[AuxiliaryPoint]:
    """Return what one attack reached by a metric over the number of auxiliary images, ascending."""
    points = (point for point in findings.auxiliary_curve if point.result.metric == metric)
    return sorted(points, key=lambda point: point.images)


def curve_metric(findings: Findings) -> str:
    """Return the metric that the curve over auxiliary data is told by: SSIM, or the token accuracy of texts."""
    of_texts = any(point.result.metric == "token-accuracy" for point in findings.auxiliary_curve)
    return "token-accuracy" if of_texts else "ssim"


def noun_of_curve(findings: Findings) -> str:
    """Return what auxiliary data are called: images or texts."""
    return "images" if curve_metric(findings) == "ssim" else "texts"


def by_tier(verdicts: Iterable[TierVerdict]) -> list[TierVerdict]:
    """Return verdicts from the shallowest tier on."""
    return sorted(verdicts, key=lambda verdict: verdict.tier)


def from_most_exposed(verdicts: Iterable[TierVerdict]) -> list[TierVerdict]:
    """Return verdicts from the most exposed tier on: by level, then by what the strongest attack reached.

    Of two tiers that reached as much the shallower comes first. An invalid verdict says nothing, and comes last.
    """
    return sorted(verdicts, key=_exposure)


def _exposure(verdict: TierVerdict) -> tuple[object, ...]:
    best = verdict.strongest
    level = LEVELS.index(verdict.level) if verdict.level in LEVELS else -1
    metric = DECIDING.index(best.metric) if best.metric in DECIDING else len(DECIDING)
    return -level, metric, -round(exposes_more(best.metric)(best.value), find_metric(best.metric).digits), verdict.tier


def failed_checks(findings: Findings) -> list[SanityCheck]:
    """Return the sanity checks that failed."""
    return [check for check in findings.sanity if not check.passed]


def is_valid(findings: Findings) -> bool:
    """Return whether the figures may be used: no sanity check failed, and the audit itself says so."""
    return findings.valid and not failed_checks(findings)
