"""An audit's findings as people read them: figures, the overall verdict, and what its measures do and do not say."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from dtfl_private.leakage.baselines import BASELINES
from dtfl_private.leakage.findings import Compared, Findings, Level, SanityCheck, TierVerdict
from dtfl_private.leakage.measures.base import MeasureFacts
from dtfl_private.leakage.measures.registry import MEASURES
from dtfl_private.leakage.metrics import METRICS, find_metric
from dtfl_private.leakage.result import Result
from dtfl_private.leakage.verdict import EXPOSED

NONE = "-"
# Below this p-values are shown as smaller: no test is exact so far out.
LEAST_PROBABILITY = 1e-12

LEVELS: tuple[Level, ...] = ("exposed", "partly exposed", "not shown to leak", "invalid")
"""From the worst on."""

LEVEL_MEANING: Mapping[Level, str] = {
    "exposed": f"at least {EXPOSED:.0%} of the attacked records can be told from the others by their reconstructions, "
    "and more than by the trivial guess, with 95% confidence, by an attack that is surely beyond the guess",
    "partly exposed": "some attack is surely beyond the trivial guess, victim by victim, or canaries surely prove an "
    "epsilon above 0",
    "not shown to leak": "neither. It does not mean safe: an attack that failed proves nothing",
    "invalid": "a sanity check failed, so the attacks prove nothing",
}
"""What levels are, as `dtfl_private.leakage.verdict` gives them."""

# Shown first and drawn, where attacks reached any of them.
OF_IMAGES = ("ssim", "psnr", "identifiability")
HEADLINES = ("psnr", "ssim", "ssim-worst-5", "lpips", "identifiability", "classifier-accuracy")


MEANING: Mapping[str, str] = {
    "mse": "mean squared difference of pixels within 0 to 1; 0 is a perfect copy",
    "psnr": "peak signal-to-noise ratio of the reconstruction in decibels; the higher, the closer to the truth",
    "ssim": "structural similarity of reconstruction and truth; 1 is a perfect copy, 0 none",
    "lpips": "perceptual distance by a trained network; 0 is a perfect copy",
    "identifiability": "share of reconstructions whose nearest record among many candidates is the true one",
    "classifier-accuracy": "share of reconstructions whose class an independent classifier still names",
    "auc": "how well members are told from others; 0.5 is chance",
    "tpr-at-fpr-0.01": "share of members found while one other in a hundred is accused wrongly",
    "tpr-at-fpr-0.001": "share of members found while one other in a thousand is accused wrongly",
    "balanced-accuracy": "share guessed right, both groups counting the same; 0.5 is chance",
    "accuracy": "share guessed right",
}
"""What metrics of attacks are, in words, by name; without those of the most exposed images."""

UNEXPLAINED = MeasureFacts(
    says="see the documentation of this measure",
    does_not_say="how much an attack gets: only attacks show that, and only from below",
    source="",
)


def explanation(source: str) -> MeasureFacts:
    """Return what a measure says and does not say; of one that is not known here, what is true of all."""
    return MEASURES[source].facts if source in MEASURES else UNEXPLAINED


def meaning(metric: str) -> str | None:
    """Return what a metric is, in words; None where it is not known here."""
    found = MEANING.get(metric.removesuffix("-worst-5"))
    return f"{found}; over the most exposed images" if found and metric.endswith("-worst-5") else found


def figure(value: float | None, metric: str) -> str:
    """Return a value in the metric's own digits; of an unknown metric in four."""
    if value is None:
        return NONE
    return f"{value:.{find_metric(metric).digits}f}" if metric in METRICS else f"{value:.4g}"


def interval(result: Result) -> str:
    """Return the 95 % interval of a result, for example "0.83 to 0.91"."""
    return f"{figure(result.ci_low, result.metric)} to {figure(result.ci_high, result.metric)}"


def advantage(result: Result) -> str:
    """Return by how much a result is beyond the trivial guess, for example "+0.120 (0.080 to 0.160)"."""
    if result.advantage is None:
        return NONE
    low, high = figure(result.advantage_ci_low, result.metric), figure(result.advantage_ci_high, result.metric)
    sign = "+" if result.advantage > 0 else ""
    return f"{sign}{figure(result.advantage, result.metric)} ({low} to {high})"


def probability(value: float | None) -> str:
    """Return a p-value in two digits, "< 1e-12" where it is smaller than anybody would believe."""
    if value is None:
        return NONE
    return f"{value:.2g}" if value >= LEAST_PROBABILITY else f"< {LEAST_PROBABILITY:g}"


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


def shape(cut: Iterable[int]) -> str:
    """Return a shape as "16x32x32"."""
    return "x".join(map(str, cut))


def listed(items: Sequence[object]) -> str:
    """Return "1", "1 and 2" or "1, 2 and 3"."""
    texts = [str(item) for item in items]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def tiers_named(tiers: Sequence[int]) -> str:
    """Return "tier 1" or "tiers 1, 2 and 3"."""
    return f"tier{'s' * (len(tiers) > 1)} {listed(tiers)}"


def failed_checks(findings: Findings) -> list[SanityCheck]:
    """Return the sanity checks that failed."""
    return [check for check in findings.sanity if not check.passed]


def is_valid(findings: Findings) -> bool:
    """Return whether the figures may be used: no sanity check failed, and the audit itself says so."""
    return findings.valid and not failed_checks(findings)


def check_text(check: SanityCheck) -> str:
    """Return what a check asked and got, for example "identity: decoder reached SSIM 0.998, needed: at least 0.990"."""
    metric = find_metric(check.metric)
    bound = "at least" if metric.exposing == "high" else "at most"
    value, needed = figure(check.value, check.metric), figure(check.needed, check.metric)
    return f"{check.name}: {check.attack} reached {metric.label} {value}, needed: {bound} {needed}"


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
    return f"Clients' records are {listed(parts)}{proof}."


def is_guess(result: Result) -> bool:
    """Return whether a result is that of a trivial guess or an oracle."""
    return result.source in BASELINES


def is_measure(result: Result) -> bool:
    """Return whether a result comes from a measure that mounts no attack."""
    return result.adversary is None and not is_guess(result)


def leakage_metric(findings: Findings) -> str | None:
    """Return the metric by which tiers are drawn against accuracy: SSIM, or what most verdicts were decided by."""
    there = {result.metric for result in findings.strongest}
    if "ssim" in there:
        return "ssim"
    # Of a tier without an attack, a proof is the strongest; it is no attack's.
    metrics = [verdict.strongest.metric for verdict in findings.verdict if verdict.strongest.metric in there]
    return max(dict.fromkeys(metrics), key=metrics.count, default=None)


def drawn_metrics(findings: Findings) -> list[str]:
    """Return the metrics that are drawn by tier: the usual ones of images, or those that verdicts were decided by."""
    there = dict.fromkeys(result.metric for result in findings.strongest)
    decisive = dict.fromkeys(verdict.strongest.metric for verdict in findings.verdict)
    of_images = [metric for metric in OF_IMAGES if metric in there]
    return of_images or [metric for metric in decisive if metric in there]


def of_metric(results: Iterable[Result], metric: str) -> list[Result]:
    """Return the results with a metric, by tier."""
    return sorted((result for result in results if result.metric == metric), key=lambda result: result.tier)


def exposes_more(metric: str) -> Callable[[float], float]:
    """Return a key that is larger for values that expose more."""
    return (lambda value: value) if find_metric(metric).exposing == "high" else (lambda value: -value)


def compared_rows(findings: Findings, metric: str) -> list[Compared]:
    """Return what is compared by a metric with another run, by tier; nothing where no run is compared."""
    rows = findings.compared.rows if findings.compared else ()
    return sorted((row for row in rows if row.metric == metric), key=lambda row: row.tier)


def by_tier(verdicts: Iterable[TierVerdict]) -> list[TierVerdict]:
    """Return verdicts from the shallowest tier on."""
    return sorted(verdicts, key=lambda verdict: verdict.tier)
