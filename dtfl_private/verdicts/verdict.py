"""From results to verdicts: which word each tier gets, and which result decided it.

No result takes anything from another: each is tested at a level that is fixed beforehand, and a tier gets the worst
word that any of its results gets. So one more result, one more attack or another order can never make a word milder.

    exposed             half of the victims or more can be told from each other (identifiability), and more than by the
                        trivial guess, with 95 % confidence, by an attack that is surely beyond the guess
    partly exposed      some attack is surely beyond the trivial guess, or an epsilon above 0 is surely proven
    not shown to leak   neither; no proof of anything
    invalid             a sanity check failed: the attacks prove nothing

"Surely" is a p-value of `dtfl_private.leakage.significance.LEVEL` or less: so small, and the same for every result of
every audit, that a whole audit of up to `TESTS` tests in which nothing leaks has a false alarm in 5 % of cases at most,
as long as differences are not strongly skewed against the guess; docs/explanation/verdict.md says what then.
The 95 % interval of the difference, which covers the repetitions of an attack too, must lie beyond 0 as well.
"""

from collections.abc import Collection, Iterable, Sequence
from statistics import NormalDist

from dtfl_private.leakage.intervals import LEVEL as CONFIDENCE
from dtfl_private.leakage.metrics import METRICS, find_metric
from dtfl_private.leakage.results.result import Result
from dtfl_private.leakage.significance import LEVEL
from dtfl_private.verdicts.findings import LEVELS, Chance, Convergence, Level, TierVerdict
from dtfl_private.verdicts.verdict_sentence import PROVEN, not_converged, verdict_sentence

# The metrics of attacks, in the order in which they decide which attack a verdict's sentence is about. How visible a
# malicious server is (weight jumps, guards) is no leakage.
DECIDING = ("ssim", "psnr", "mse", "token-accuracy", "rouge-l", "auc", "accuracy", "identifiability")
OF_ATTACKS = METRICS.keys() - PROVEN.keys()
# The metrics by which an attack can be beyond its guess. Of the worst 5 % of the images there is no test that compares
# victim by victim, and few images; a balanced accuracy says no more than the AUC does.
TESTED = (*DECIDING, "lpips", "classifier-accuracy", "exact-sequences", "tpr-at-fpr-0.01", "tpr-at-fpr-0.001")
EXPOSED = 0.5


def is_of_attack(result: Result) -> bool:
    """Whether a result says how much an attack got, not how visible it was, and not what a measure or guess says."""
    return result.adversary is not None and result.metric in OF_ATTACKS


def is_tested(result: Result) -> bool:
    """Whether a result can decide a verdict: a proof, or an attack with a trivial guess and a metric of `TESTED`."""
    return result.metric in PROVEN or (is_of_attack(result) and result.metric in TESTED and result.baseline is not None)


def strongest(results: Sequence[Result]) -> list[Result]:
    """Return the most exposing result of all attacks for each tier and metric, tier by tier, in the order of metrics.

    Of equally exposing ones it is the surest, whatever the order in which they come.
    """
    found: dict[tuple[int, str], Result] = {}
    for result in filter(is_of_attack, results):
        key = (result.tier, result.metric)
        if key not in found or _rank(result) > _rank(found[key]):
            found[key] = result
    order = {metric: place for place, metric in enumerate(METRICS)}
    return [found[key] for key in sorted(found, key=lambda key: (key[0], order[key[1]]))]


def _rank(result: Result) -> tuple[object, ...]:
    """Return a key that is the higher, the more a result exposes; among equals the surer, then the more work it is of.

    Accuracies of different properties are compared by what they are above their trivial guess; one without a guess
    comes last. The text of the result settles what is left, so that nothing depends on the order of a list.
    """
    value = result.value if find_metric(result.metric).exposing == "high" else -result.value
    comparable = result.metric != "accuracy" or result.baseline is not None
    if result.metric == "accuracy" and result.baseline is not None:
        value -= result.baseline
    sure = (beats_guess(result), -p_value(result), result.ci_low - result.ci_high)
    return (comparable, value, *sure, result.n, result.seeds, result.adaptive, result.model_dump_json())


def p_value(result: Result) -> float:
    """Return the probability of a result so far beyond its trivial guess, or further, by chance alone.

    Where a file does not say, as of an older version, it is a normal approximation from the end of the interval on the
    guess's side. Without a guess it is 1.
    """
    if result.baseline is None:
        return 1.0
    if result.p_value is not None:
        return result.p_value
    high = find_metric(result.metric).exposing == "high"
    beyond = result.value - result.baseline if high else result.baseline - result.value
    reach = result.value - result.ci_low if high else result.ci_high - result.value
    if beyond <= 0:
        return 1.0
    if reach == 0:  # equal differences have no spread: each victim is a toss of a coin
        return float(0.5**result.n)
    normal = NormalDist()
    return normal.cdf(-normal.inv_cdf((1 + CONFIDENCE) / 2) * beyond / reach)


def beats_guess(result: Result) -> bool:
    """Whether a result is surely beyond the trivial guess: by its p-value, and by the interval of the difference.

    One victim shows no spread, whatever a file says.
    """
    apart = result.advantage_ci_low is None or result.advantage_ci_low > 0
    tested = result.baseline is not None and result.metric in TESTED and result.has_spread
    return tested and p_value(result) <= LEVEL and apart


def proves(result: Result) -> bool:
    """Whether a result is a bound above 0 on epsilon, surely; of an older file, with the confidence of the bound."""
    return result.metric in PROVEN and result.value > 0 and (result.p_value is None or result.p_value <= LEVEL)


def level_of(result: Result, sure: Collection[object] = ()) -> Level:
    """Return the word that a tier gets by a result.

    Few victims cannot show by how many are told apart alone that it is more than by the guess; then it is enough that
    the 95 % interval says so, if the same attack is surely beyond the guess by another metric.

    Args:
        result: of an attack or a measure.
        sure: attacks that are surely beyond the guess by some result at this tier; see `attack_of`.
    """
    if proves(result):
        return "partly exposed"
    if not is_of_attack(result):
        return "not shown to leak"
    told_apart = result.metric == "identifiability" and result.ci_low >= EXPOSED and _is_beyond(result)
    if told_apart and (beats_guess(result) or attack_of(result) in sure):
        return "exposed"
    return "partly exposed" if beats_guess(result) else "not shown to leak"


def _is_beyond(result: Result) -> bool:
    """Whether the 95 % interval of the difference to the guess, or of the value in older files, is above it."""
    if not result.has_spread:
        return False
    if result.advantage_ci_low is not None:
        return result.advantage_ci_low > 0
    return result.baseline is not None and result.ci_low > result.baseline


def attack_of(result: Result) -> object:
    """Return what tells an attack from the others at its tier."""
    settings = tuple(sorted((name, str(value)) for name, value in result.settings.items()))
    return result.source, result.adversary, result.adaptive, settings


def chance(results: Iterable[Result]) -> Chance:
    """Return how many tests an audit makes, at which level, and how likely any false alarm among them is at most."""
    tests = sum(map(is_tested, results))
    return Chance(tests=tests, level=LEVEL, false_alarm_rate=min(1.0, tests * LEVEL))


def tier_verdicts(
    results: Sequence[Result], *, valid: bool, convergence: Convergence | None = None
) -> list[TierVerdict]:
    """Return what each tier comes to that was attacked, or of which something is proven without an attack.

    Args:
        results: of attacks and measures.
        valid: whether all sanity checks passed.
        convergence: of one attack; its tier's sentence says so if it has not converged. It changes no level.
    """
    best = strongest(results)
    tiers = {result.tier for result in best} | {result.tier for result in results if proves(result)}
    return [
        _verdict(
            [result for result in results if result.tier == tier],
            [result for result in best if result.tier == tier],
            valid=valid,
            convergence=convergence if convergence is not None and convergence.tier == tier else None,
        )
        for tier in sorted(tiers)
    ]


def _verdict(
    results: Sequence[Result], best: Sequence[Result], *, valid: bool, convergence: Convergence | None
) -> TierVerdict:
    """Return a tier's verdict; ``best`` are the strongest attacks by metric, if there are any."""
    proofs = [max(own, key=_proof_rank) for metric in PROVEN if (own := _proofs(results, metric))]
    by_metric = {result.metric: result for result in best}
    chosen = next((by_metric[metric] for metric in DECIDING if metric in by_metric), None) or [*best, *proofs][0]
    sure = {attack_of(result) for result in results if is_of_attack(result) and beats_guess(result)}
    level: Level = max((level_of(result, sure) for result in results), key=LEVELS.index) if valid else "invalid"
    decisive = None
    if level not in ("invalid", LEVELS[0]):
        candidates = [result for result in [*filter(is_of_attack, results), *proofs] if level_of(result, sure) == level]
        decisive = min(candidates, key=lambda result: _preference(result, chosen))
    return TierVerdict(
        tier=chosen.tier,
        cut=chosen.cut,
        level=level,
        attack=chosen.source,
        strongest=chosen,
        decided_by=decisive,
        sentence=verdict_sentence(chosen, decisive, by_metric, proofs, level) + not_converged(convergence, level),
    )


def _proofs(results: Sequence[Result], metric: str) -> list[Result]:
    return [result for result in results if result.metric == metric and proves(result)]


def _proof_rank(result: Result) -> tuple[object, ...]:
    return result.value, result.model_dump_json()


def _preference(result: Result, chosen: Result) -> tuple[object, ...]:
    """Return a key that is lowest for the result to name as the one that decides, among those that all would.

    The strongest attack, if it does; else an attack before a proof, the first metric of `TESTED`, the surest.
    """
    place = TESTED.index(result.metric) if result.metric in TESTED else len(TESTED)
    return result != chosen, proves(result), place, p_value(result), result.model_dump_json()
