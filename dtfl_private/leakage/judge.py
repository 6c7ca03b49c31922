"""From the guesses of an attack to results: the one place where guesses meet the ground truth.

A guess comes once per repetition (seed) of the attack; equal guesses, as of a deterministic attack, count once.
Metrics, intervals, trivial guesses and the comparison with them, victim by victim, are the same for all attacks with
the same goal.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from dtfl_private.leakage import membership, scores
from dtfl_private.leakage.baselines import BASELINES, Known
from dtfl_private.leakage.intervals import Interval, metric_interval, worst_interval
from dtfl_private.leakage.lpips import lpips
from dtfl_private.leakage.metrics import ACCURACY, METRICS, Metric
from dtfl_private.leakage.result import Result, SettingValue
from dtfl_private.leakage.significance import Advantage, auc_p_value, distinct, paired_advantage, tpr_p_value
from dtfl_private.protocol.contracts import FloatArray
from dtfl_private.randomness import stream

Classify = Callable[[Tensor], Tensor]
"""From images (N, C, H, W) in [0, 1] to class numbers (N,)."""

# Trivial guesses that an adversary can make; the nearest auxiliary image can only be found by who has the truth.
ATTAINABLE = ("mean-image", "class-mean")

# Metrics whose worst 5 % of the images are shown beside their mean.
WORST = ("mse", "psnr", "ssim")
WORST_SUFFIX = "-worst-5"


@dataclass(frozen=True, kw_only=True)
class Heading:
    """What all results of one attack at one tier have in common; see `Result`."""

    tier: int
    cut: tuple[int, ...]
    source: str
    adaptive: bool
    adversary: str | None
    seed: int
    settings: Mapping[str, SettingValue] = field(default_factory=dict)

    def result(
        self,
        metric: str,
        found: Interval,
        *,
        n: int,
        seeds: int,
        baseline: tuple[str, float] | None = None,
        advantage: Advantage | None = None,
    ) -> Result:
        """Return one figure under this heading; ``baseline`` is a trivial guess's name and value."""
        return Result(
            tier=self.tier,
            cut=self.cut,
            source=self.source,
            metric=metric,
            value=found.value,
            ci_low=found.low,
            ci_high=found.high,
            baseline=None if baseline is None else baseline[1],
            baseline_name=None if baseline is None else baseline[0],
            advantage=None if advantage is None else advantage.found.value,
            advantage_ci_low=None if advantage is None else advantage.found.low,
            advantage_ci_high=None if advantage is None else advantage.found.high,
            p_value=None if advantage is None else advantage.p_value,
            n=n,
            seeds=seeds,
            adaptive=self.adaptive,
            adversary=self.adversary,
            settings=dict(self.settings),
        )

    def draws(self, metric: str) -> np.random.Generator:
        """Return the stream of a metric's bootstrap draws."""
        return stream(self.seed, "bootstrap", self.source, self.tier, metric)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Scores of guesses, image by image, for pictures and comparisons: metric name to (S, N)."""

    results: Sequence[Result]
    scores: Mapping[str, FloatArray]


def image_scores(
    guess: Tensor, truth: Tensor, labels: Tensor, classify: Classify | None, *, with_lpips: bool = False
) -> dict[str, FloatArray]:
    """Return every metric of one repetition's images, (N,) each.

    Args:
        guess: (N, C, H, W).
        truth: likewise, in [0, 1].
        labels: (N,) true classes.
        classify: a classifier that neither attack nor victims trained; None leaves its accuracy out.
        with_lpips: add LPIPS.
    """
    found = {
        "mse": scores.mse(guess, truth),
        "psnr": scores.psnr(guess, truth),
        "ssim": scores.ssim(guess, truth),
        "identifiability": scores.identifiability(guess, truth),
    }
    if classify is not None:
        found["classifier-accuracy"] = scores.correct(classify(guess.clamp(0, 1)), labels)
    if with_lpips:
        found["lpips"] = lpips(guess, truth)
    return found


def judge_images(
    guesses: Sequence[Tensor],
    known: Known | None,
    truth: Tensor,
    labels: Tensor,
    classify: Classify | None,
    heading: Heading,
    *,
    with_lpips: bool = False,
) -> Judged:
    """Judge reconstructed images, beside the better of the trivial guesses that the adversary can make.

    Args:
        guesses: images (N, C, H, W) of each repetition.
        known: what trivial guesses are made from; None without auxiliary data: then a grey image is the trivial guess.
        truth: the victims' images.
        labels: their true classes.
        classify: see `image_scores`.
        heading: of the results.
        with_lpips: add LPIPS.
    """
    each = [image_scores(guess, truth, labels, classify, with_lpips=with_lpips) for guess in guesses]
    judged = {name: np.stack([seed[name] for seed in each]) for name in each[0]}
    trivial = {
        name: image_scores(guess, truth, labels, classify, with_lpips=with_lpips)
        for name, guess in trivial_guesses(known, truth).items()
    }
    results, different = [], distinct(guesses)
    for name, all_SN in judged.items():
        scores_SN = all_SN[different]
        metric, sizes = METRICS[name], {"n": scores_SN.shape[1], "seeds": len(scores_SN)}
        found = metric_interval(metric, scores_SN, heading.draws(name))
        results.append(_beside_guesses(metric, found, scores_SN, {g: trivial[g][name] for g in trivial}, heading))
        if name in WORST:
            rng = heading.draws(name + WORST_SUFFIX)
            found = worst_interval(metric, scores_SN, rng)
            means = {guess: worst_interval(metric, trivial[guess][name][None], rng).value for guess in trivial}
            results.append(heading.result(name + WORST_SUFFIX, found, baseline=_strongest(metric, means), **sizes))
    return Judged(results=results, scores=judged)


def _beside_guesses(
    metric: Metric, found: Interval, scores_SN: FloatArray, trivial: Mapping[str, FloatArray], heading: Heading
) -> Result:
    """Return a result beside the best trivial guess, compared with it victim by victim; see `paired_advantage`."""
    best = _strongest(metric, {name: float(scores_N.mean()) for name, scores_N in trivial.items()})
    rng = heading.draws(f"{metric.name}-advantage")
    advantage = paired_advantage(metric, scores_SN, trivial, best[0], rng)
    n, seeds = scores_SN.shape[1], len(scores_SN)
    return heading.result(metric.name, found, baseline=best, advantage=advantage, n=n, seeds=seeds)


def trivial_guesses(known: Known | None, truth: Tensor) -> dict[str, Tensor]:
    """Return the guesses that need no smashed data, by name: without auxiliary data a grey image."""
    if known is None:
        return {"grey-image": torch.full_like(truth, 0.5)}
    return {name: BASELINES[name](known) for name in ATTAINABLE}


def _strongest(metric: Metric, values: Mapping[str, float]) -> tuple[str, float]:
    """Return the name and value of the trivial guess that exposes most."""
    pick = max if metric.exposing == "high" else min
    return pick(values.items(), key=lambda named: named[1])


def judge_baseline(
    name: str, known: Known, labels: Tensor, classify: Classify | None, heading: Heading
) -> list[Result]:
    """Return the results of a trivial guess itself, for tables and plots."""
    guess = BASELINES[name](known)
    found = []
    for metric, scores_N in image_scores(guess, known.truth, labels, classify).items():
        interval = metric_interval(METRICS[metric], scores_N[None], heading.draws(metric))
        found.append(heading.result(metric, interval, n=len(scores_N), seeds=1))
    return found


def judge_membership(guesses: Sequence[Tensor], member: Tensor, heading: Heading) -> list[Result]:
    """Judge membership scores (candidates,) of each repetition by which candidates are members, bool (candidates,)."""
    scored = np.stack([guesses[place].double().cpu().numpy() for place in distinct(guesses)])
    inside = member.cpu().numpy()
    members_SM, others_SK = scored[:, inside], scored[:, ~inside]
    sizes = {"n": scored.shape[1], "seeds": len(scored)}
    found = membership.auc_interval(members_SM, others_SK, heading.draws("auc"))
    advantage = _beyond(found, 0.5, auc_p_value(members_SM, others_SK))
    results = [heading.result("auc", found, baseline=("chance", 0.5), advantage=advantage, **sizes)]
    found = membership.accuracy_interval(members_SM, others_SK, heading.draws("balanced-accuracy"))
    results.append(heading.result("balanced-accuracy", found, baseline=("chance", 0.5), **sizes))
    for fpr in membership.LOW_FPRS:
        shown = membership.chance_tpr(others_SK.shape[1], fpr)
        name = f"tpr-at-fpr-{fpr:g}"
        found = membership.tpr_interval(members_SM, others_SK, fpr, heading.draws(name))
        advantage = _beyond(found, shown, tpr_p_value(members_SM, others_SK, fpr))
        results.append(heading.result(name, found, baseline=("chance", shown), advantage=advantage, **sizes))
    return results


def _beyond(found: Interval, chance: float, p_value: float) -> Advantage:
    """Return the advantage over a level of chance, which is known exactly."""
    beyond = Interval(value=found.value - chance, low=found.low - chance, high=found.high - chance)
    return Advantage(found=beyond, p_value=p_value)


def judge_values(
    guesses: Sequence[Tensor],
    truth: Tensor,
    trivial: Mapping[str, Tensor],
    ceilings: Mapping[str, Tensor],
    heading: Heading,
) -> list[Result]:
    """Judge guessed labels or attributes: the share that is right, beside the best trivial guess.

    Args:
        guesses: (N,) of each repetition.
        truth: (N,).
        trivial: guesses (N,) that need no smashed data, by name.
        ceilings: guesses (N,) of whoever has more than the adversary, by name; each gives a result of its own.
        heading: of the results.
    """
    scored = np.stack([scores.correct(guesses[place], truth) for place in distinct(guesses)])
    beside = {name: scores.correct(guess, truth) for name, guess in trivial.items()}
    found = metric_interval(ACCURACY, scored, heading.draws("accuracy"))
    results = [_beside_guesses(ACCURACY, found, scored, beside, heading)]
    for name, guess in ceilings.items():
        ceiling = metric_interval(ACCURACY, scores.correct(guess, truth)[None], heading.draws(name))
        results.append(heading.result(f"accuracy-of-{name}", ceiling, n=scored.shape[1], seeds=1))
    return results
