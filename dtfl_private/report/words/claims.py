"""What attacks surely got at one tier, in words without jargon: images, members, labels, properties, or a proof alone.

A word of strength is tied to the worse end of a 95 % interval. Nothing is claimed that does not stand behind the tier's
verdict: only results that are surely beyond the trivial guess, see `dtfl_private.verdicts.verdict`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from typing import Literal

from dtfl_private.leakage.results.result import Result
from dtfl_private.verdicts.findings import Findings, TierVerdict
from dtfl_private.verdicts.selected_results import exposes_more
from dtfl_private.verdicts.verdict import attack_of, beats_guess, is_of_attack, level_of, proves

Goal = Literal["images", "members", "labels", "property", "proof"]

OF_TEXTS = ("token-accuracy", "rouge-l", "exact-sequences")
OF_REBUILT = ("ssim", "psnr", "mse", "lpips", *OF_TEXTS, "identifiability", "classifier-accuracy")
OF_MEMBERS = ("auc", "tpr-at-fpr-0.01", "tpr-at-fpr-0.001")
OF_LABELS = ("label-clustering", "label-inference", "gradient-labels", "label-counts")
"""Attacks whose accuracy is that of labels; of others it is that of a property."""

# Lower ends of intervals, of SSIM or token accuracy, from which on a reconstruction is called so. A PSNR of 25 dB is an
# error of 6 % of the range.
ALMOST_PERFECT, ALMOST_PERFECT_PSNR, CLOSE = 0.95, 25.0, 0.8
# Part of the way from the guess to the truth.
CLEARLY = 0.25

HONEST_SERVER = "server-honest-but-curious"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Something that an attack surely got at a tier.

    Attributes:
        goal: what it is about.
        strength: the higher, the more; comparable within a goal.
        template: predicate in words, "rebuilds its images almost perfectly"; ``{of_100}`` is the strength.
        result: that it rests on.
    """

    goal: Goal
    strength: int
    template: str
    result: Result

    @property
    def says(self) -> str:
        """The predicate, for example "rebuilds its images almost perfectly"."""
        return said_together([self])


def said_together(claims: Sequence[Claim]) -> str:
    """Return the predicate of claims with one template, with the range of their figures."""
    low, high = (choose(claim.strength for claim in claims) for choose in (min, max))
    return claims[0].template.format(of_100=low if low == high else f"{low} to {high}")


def claims(findings: Findings, verdict: TierVerdict) -> list[Claim]:
    """Return what was surely got at a tier, images first; nothing of a tier that was not shown to leak.

    Of a tier that is called exposed there is always a claim about images, and of one that is partly exposed one claim
    at least.
    """
    if verdict.level not in ("exposed", "partly exposed"):
        return []
    own = [result for result in findings.results if result.tier == verdict.tier]
    own += [] if verdict.decided_by is None or verdict.decided_by in own else [verdict.decided_by]
    sure = [result for result in own if is_of_attack(result) and beats_guess(result)]
    noun = nouns(findings)
    found = [
        _images(verdict, own, sure, noun),
        _members([result for result in sure if result.metric in OF_MEMBERS], noun),
        _labels([result for result in sure if result.metric == "accuracy" and result.source in OF_LABELS], noun),
        _property([result for result in sure if result.metric == "accuracy" and result.source not in OF_LABELS], noun),
    ]
    made = [claim for claim in found if claim is not None]
    return made or [_otherwise(verdict, own, noun)]


def nouns(findings: Findings) -> str:
    """Return what records are called: images, or texts where the data are sequences."""
    inputs = None if findings.about is None else findings.about.inputs
    if inputs == "sequences":
        return "texts"
    metrics = {result.metric for result in findings.results}
    if metrics & set(OF_TEXTS):
        return "texts"
    rebuilt = any(metric in OF_REBUILT for metric in metrics)
    return "images" if inputs == "images" or rebuilt else "records"


def per_hundred(share: float) -> int:
    """Return a share of a hundred, rounded down, so that less than all is never said to be all."""
    return floor(100 * share + 1e-9)


def _images(verdict: TierVerdict, own: Sequence[Result], sure: Sequence[Result], noun: str) -> Claim | None:
    """Return what was rebuilt; the level "exposed" always rests on images that can be told apart."""
    beyond = [result for result in sure if result.metric in OF_REBUILT]
    if verdict.level != "exposed":
        if not beyond:
            return None
        result = _preferred(beyond)
        strength = 2 if _share_of_the_way(beyond) >= CLEARLY else 1
        how = "clearly" if strength == 2 else "somewhat"
        template = f"rebuilds its {noun} {how} better than a guess could"
        return Claim(goal="images", strength=strength, template=template, result=result)
    decisive = _deciding(verdict, own)
    # Of the same adversary alone: what another one reaches may take more than seeing what is sent.
    equals = [result for result in sure if result.adversary == decisive.adversary]
    likeness, psnr = _best_low(equals, "ssim"), _best_low(equals, "psnr")
    if likeness is None:
        likeness = _best_low(equals, "token-accuracy")
    strength, how = 3, "well enough to tell most of them from one another"
    if likeness is not None and likeness >= CLOSE:
        strength, how = 4, "closely"
        if likeness >= ALMOST_PERFECT and (psnr is None or psnr >= ALMOST_PERFECT_PSNR):
            strength, how = 5, "almost perfectly"
    return Claim(goal="images", strength=strength, template=f"rebuilds its {noun} {how}", result=decisive)


def _deciding(verdict: TierVerdict, own: Sequence[Result]) -> Result:
    """Return the result by which a tier is exposed; of older files, which do not name it, the best candidate."""
    if verdict.decided_by is not None:
        return verdict.decided_by
    sure = {attack_of(result) for result in own if is_of_attack(result) and beats_guess(result)}
    exposing = [result for result in own if level_of(result, sure) == "exposed"]
    return max(exposing, key=lambda result: result.value, default=verdict.strongest)


def _preferred(results: Sequence[Result]) -> Result:
    """Return the result that a claim about images rests on: the first metric there is, its most exposing value."""
    metric = min((result.metric for result in results), key=OF_REBUILT.index)
    own = [result for result in results if result.metric == metric]
    return max(own, key=lambda result: exposes_more(metric)(result.value))


def _share_of_the_way(results: Sequence[Result]) -> float:
    """Return how much of the way from the guess to the truth was surely gone, by SSIM or token accuracy; else 0."""
    return max(
        (
            low / max(1e-9, 1 - result.baseline)
            for result in results
            if result.metric in ("ssim", "token-accuracy") and result.baseline is not None
            if (low := _surely_beyond(result, result.baseline)) > 0
        ),
        default=0.0,
    )


def _surely_beyond(result: Result, baseline: float) -> float:
    """Return by how much a result is beyond the guess at least; older files have no interval of that."""
    return result.ci_low - baseline if result.advantage_ci_low is None else result.advantage_ci_low


def _best_low(results: Sequence[Result], metric: str) -> float | None:
    """Return the highest lower end of an attack's interval by a metric."""
    return max((result.ci_low for result in results if result.metric == metric), default=None)


def _members(sure: Sequence[Result], noun: str) -> Claim | None:
    """Return how well records that were trained on are told from others; an AUC is a share of pairs."""
    by_pairs = [result for result in sure if result.metric == "auc"]
    if by_pairs:
        template = f"tells, in {{of_100}} of 100 cases, which of two {noun} was trained on (a coin would in 50)"
        return _counted("members", template, _best(by_pairs))
    if not sure:
        return None
    best = _best(sure)
    rate = "1,000" if best.metric.endswith("0.001") else "100"
    return _counted(
        "members", f"finds {{of_100}} of 100 {noun} that were trained on, and wrongly 1 of {rate} others", best
    )


def _labels(sure: Sequence[Result], noun: str) -> Claim | None:
    if not sure:
        return None
    best = _best(sure)
    return _counted("labels", f"reads the labels of {{of_100}} of 100 of its {noun}{_by_guess(best)}", best)


def _property(sure: Sequence[Result], noun: str) -> Claim | None:
    if not sure:
        return None
    best = _best(sure)
    return _counted("property", f"finds out a property of {{of_100}} of 100 of its {noun}{_by_guess(best)}", best)


def _counted(goal: Goal, template: str, result: Result) -> Claim:
    return Claim(goal=goal, strength=per_hundred(result.value), template=template, result=result)


def _otherwise(verdict: TierVerdict, own: Sequence[Result], noun: str) -> Claim:
    """Return the claim of a tier of which something is proven, but nothing of the above was got."""
    proof = next((result for result in own if proves(result)), None)
    if proof is None:
        template = f"gets more out of it about its {noun} than a guess could"
        return Claim(goal="images", strength=1, template=template, result=verdict.decided_by or verdict.strongest)
    template = f"can tell whether single {noun} are among its data, as planted {noun} prove"
    return Claim(goal="proof", strength=1, template=template, result=proof)


def _best(results: Sequence[Result]) -> Result:
    """Return the result with the highest value, that of an honest server first."""
    honest = [result for result in results if result.adversary == HONEST_SERVER]
    return max(honest or results, key=lambda result: result.value)


def _by_guess(result: Result) -> str:
    return "" if result.baseline is None else f" (by a guess: {per_hundred(result.baseline)})"
