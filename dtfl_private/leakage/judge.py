"""From the guesses of an attack to results: the one place where guesses meet the ground truth.

A guess comes once per repetition (seed) of the attack. Metrics, intervals and trivial guesses are the same for all
attacks with the same goal.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from dtfl_private.contracts import FloatArray
from dtfl_private.leakage import membership, scores
from dtfl_private.leakage.baselines import BASELINES, Known
from dtfl_private.leakage.intervals import Interval, metric_interval, worst_interval
from dtfl_private.leakage.lpips import lpips
from dtfl_private.leakage.metrics import ACCURACY, METRICS, Metric
from dtfl_private.leakage.result import Result, Setting
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
    settings: Mapping[str, Setting] = field(default_factory=dict)

    def result(
        self,
        metric: str,
        found: Interval,
        *,
        n: int,
        seeds: int,
        baseline: tuple[str, float] | None = None,
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
    results = []
    for name, scores_SN in judged.items():
        metric, sizes = METRICS[name], {"n": scores_SN.shape[1], "seeds": len(scores_SN)}
        found = metric_interval(metric, scores_SN, heading.draws(name))
        means = {guess: float(trivial[guess][name].mean()) for guess in trivial}
        results.append(heading.result(name, found, baseline=_strongest(metric, means), **sizes))
        if name in WORST:
            rng = heading.draws(name + WORST_SUFFIX)
            found = worst_interval(metric, scores_SN, rng)
            means = {guess: worst_interval(metric, trivial[guess][name][None], rng).value for guess in trivial}
            results.append(heading.result(name + WORST_SUFFIX, found, baseline=_strongest(metric, means), **sizes))
    return Judged(results=results, scores=judged)


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
    scored = np.stack([guess.double().cpu().numpy() for guess in guesses])
    inside = member.cpu().numpy()
    members_SM, others_SK = scored[:, inside], scored[:, ~inside]
    sizes = {"n": scored.shape[1], "seeds": len(scored)}
    results = [
        heading.result(
            "auc",
            membership.auc_interval(members_SM, others_SK, heading.draws("auc")),
            baseline=("chance", 0.5),
            **sizes,
        ),
        heading.result(
            "balanced-accuracy",
            membership.accuracy_interval(members_SM, others_SK, heading.draws("balanced-accuracy")),
            baseline=("chance", 0.5),
            **sizes,
        ),
    ]
    for fpr in membership.LOW_FPRS:
        shown = membership.chance_tpr(others_SK.shape[1], fpr)
        name = f"tpr-at-fpr-{fpr:g}"
        found = membership.tpr_interval(members_SM, others_SK, fpr, heading.draws(name))
        results.append(heading.result(name, found, baseline=("chance", shown), **sizes))
    return results


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
    scored = np.stack([scores.correct(guess, truth) for guess in guesses])
    means = {name: float(scores.correct(guess, truth).mean()) for name, guess in trivial.items()}
    sizes = {"n": scored.shape[1], "seeds": len(scored)}
    found = metric_interval(ACCURACY, scored, heading.draws("accuracy"))
    results = [heading.result("accuracy", found, baseline=_strongest(ACCURACY, means), **sizes)]
    for name, guess in ceilings.items():
        ceiling = metric_interval(ACCURACY, scores.correct(guess, truth)[None], heading.draws(name))
        results.append(heading.result(f"accuracy-of-{name}", ceiling, n=sizes["n"], seeds=1))
    return results
