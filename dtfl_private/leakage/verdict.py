"""From results to verdicts: the strongest attack per tier and metric, what it means in a word, and in a sentence.

The words are defined by the intervals, not by the values, and by what a guess without the smashed data reaches:

    exposed             half of the victims or more can be told from each other (identifiability), with 95 % confidence,
                        and more than by the trivial guess
    partly exposed      the whole interval of some attack is beyond the trivial guess, or an epsilon above 0 is proven
    not shown to leak   neither; no proof of anything
    invalid             a sanity check failed: the attacks prove nothing
"""

from collections.abc import Mapping, Sequence

from dtfl_private.leakage.findings import Level, TierVerdict
from dtfl_private.leakage.metrics import METRICS, find_metric
from dtfl_private.leakage.result import Result

# The metrics of attacks, in the order in which they decide which attack a verdict is about. How visible a malicious
# server is (weight jumps, guards) is no leakage.
DECIDING = ("ssim", "psnr", "mse", "auc", "accuracy", "identifiability")
OF_ATTACKS = frozenset(METRICS)
EXPOSED = 0.5
# A lower bound on epsilon, of a measure and no attack of the audit's; positive, it is proven leakage all the same.
PROVEN = "empirical-epsilon"

SAID: Mapping[str, str] = {
    "ssim": "rebuilds images with an SSIM of {value}",
    "psnr": "rebuilds images with a PSNR of {value} dB",
    "mse": "rebuilds images with a mean squared error of {value}",
    "auc": "tells records that were trained on from others with an AUC of {value}",
    "accuracy": "guesses right for {value} of the records",
    "identifiability": "rebuilds images of which {value} can be told among the victims",
}


def is_of_attack(result: Result) -> bool:
    """Whether a result says how much an attack got, not how visible it was, and not what a measure or guess says."""
    return result.adversary is not None and result.metric in OF_ATTACKS


def strongest(results: Sequence[Result]) -> list[Result]:
    """Return the most exposing result of all attacks for each tier and metric, tier by tier."""
    found: dict[tuple[int, str], Result] = {}
    for result in filter(is_of_attack, results):
        key = (result.tier, result.metric)
        if key not in found or _exposure(result) > _exposure(found[key]):
            found[key] = result
    return [found[key] for key in sorted(found, key=lambda key: key[0])]


def _exposure(result: Result) -> float:
    """Return a number that is the higher, the more a result exposes.

    Accuracies of different properties are compared by what they are above their trivial guess.
    """
    value = result.value if find_metric(result.metric).exposing == "high" else -result.value
    return value - result.baseline if result.metric == "accuracy" and result.baseline is not None else value


def beats_guess(result: Result) -> bool:
    """Whether a result is beyond the trivial guess, with 95 % confidence."""
    if result.baseline is None:
        return False
    high = find_metric(result.metric).exposing == "high"
    return result.ci_low > result.baseline if high else result.ci_high < result.baseline


def tier_verdicts(results: Sequence[Result], *, valid: bool) -> list[TierVerdict]:
    """Return what each tier comes to, by its strongest attacks."""
    best = strongest(results)
    proven = {result.tier: result.value for result in results if result.metric == PROVEN}
    return [
        _verdict([result for result in best if result.tier == tier], proven.get(tier, 0.0), valid=valid)
        for tier in sorted({result.tier for result in best})
    ]


def _verdict(best: Sequence[Result], proven: float, *, valid: bool) -> TierVerdict:
    by_metric = {result.metric: result for result in best}
    chosen = next((by_metric[metric] for metric in DECIDING if metric in by_metric), best[0])
    level = _level(by_metric, proven) if valid else "invalid"
    return TierVerdict(
        tier=chosen.tier,
        cut=chosen.cut,
        level=level,
        attack=chosen.source,
        strongest=chosen,
        sentence=_sentence(chosen, by_metric, proven, level),
    )


def _level(by_metric: Mapping[str, Result], proven: float) -> Level:
    singled_out = by_metric.get("identifiability")
    if singled_out is not None and singled_out.ci_low >= EXPOSED and beats_guess(singled_out):
        return "exposed"
    return "partly exposed" if proven > 0 or any(map(beats_guess, by_metric.values())) else "not shown to leak"


def _sentence(chosen: Result, by_metric: Mapping[str, Result], proven: float, level: Level) -> str:
    if level == "invalid":
        return "A sanity check failed: what the attacks reached here proves nothing."
    said = SAID.get(chosen.metric, f"reaches {find_metric(chosen.metric).label} of {{value}}")
    parts = [f"The strongest attack, {chosen.source}, {said.format(value=_figure(chosen))}{_beside(chosen)}"]
    singled_out, members = by_metric.get("identifiability"), by_metric.get("auc")
    if singled_out is not None and singled_out is not chosen:
        parts.append(f"{singled_out.value:.0%} of the images can be told among the victims by it or another attack")
    if members is not None and members is not chosen:
        parts.append(f"membership of a record is told with an AUC of {members.value:.2f}")
    if proven > 0:
        parts.append(f"canaries prove that epsilon of the smashed data is {proven:.1f} at least")
    closing = "" if level != "not shown to leak" else " That these attacks failed does not show that others would."
    return "; ".join(parts) + "." + closing


def _figure(result: Result) -> str:
    digits = find_metric(result.metric).digits
    value, low, high = (f"{figure:.{digits}f}" for figure in (result.value, result.ci_low, result.ci_high))
    return f"{value} ({low} to {high})"


def _beside(result: Result) -> str:
    digits = find_metric(result.metric).digits
    beside = []
    if result.baseline is not None:
        beside.append(f"a guess without the smashed data: {result.baseline:.{digits}f}")
    if result.undefended is not None:
        beside.append(f"undefended: {result.undefended:.{digits}f}")
    return f" [{'; '.join(beside)}]" if beside else ""
