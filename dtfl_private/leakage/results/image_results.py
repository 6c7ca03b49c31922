"""From reconstructed images and the true ones to results: mean scores with intervals, next to trivial guesses.

A guess comes once per repetition (seed) of the attack; equal guesses, as of a deterministic attack, count once.
What else can be guessed has modules of its own: `membership_results`, `value_results`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from dtfl_private.leakage import image_metrics as scores
from dtfl_private.leakage.baselines import BASELINES, Known
from dtfl_private.leakage.intervals import metric_interval, worst_interval
from dtfl_private.leakage.lpips import lpips
from dtfl_private.leakage.metrics import METRICS
from dtfl_private.leakage.results.compared_with_baselines import against_best_guess, best_guess
from dtfl_private.leakage.results.result import Result
from dtfl_private.leakage.results.result_heading import Heading
from dtfl_private.leakage.significance import distinct
from dtfl_private.protocol.contracts import FloatArray

Classify = Callable[[Tensor], Tensor]
"""From images (N, C, H, W) in [0, 1] to class numbers (N,)."""

# Trivial guesses that an adversary can make; the nearest auxiliary image can only be found with the truth.
ATTAINABLE = ("mean-image", "class-mean")

# Metrics whose worst 5 % of the images are shown in addition to their mean.
WORST = ("mse", "psnr", "ssim")
WORST_SUFFIX = "-worst-5"

NOTHING_ELSE: Mapping[str, Tensor] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class ImageResults:
    """Results, and ``scores`` image by image for pictures: metric name to (S, N)."""

    results: Sequence[Result]
    scores: Mapping[str, FloatArray]


def score_images(
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


def image_results(
    guesses: Sequence[Tensor],
    known: Known | None,
    truth: Tensor,
    labels: Tensor,
    classify: Classify | None,
    heading: Heading,
    *,
    with_lpips: bool = False,
    others: Mapping[str, Tensor] = NOTHING_ELSE,
) -> ImageResults:
    """Score reconstructed images, and compare them with the better of the trivial guesses that the adversary can make.

    Args:
        guesses: images (N, C, H, W) of each repetition.
        known: what trivial guesses are made from; None without auxiliary data: then a grey image is the trivial guess.
        truth: the victims' images.
        labels: their true classes.
        classify: see `score_images`.
        heading: of the results.
        with_lpips: add LPIPS.
        others: further trivial guesses (N, C, H, W), by name.
    """
    each = [score_images(guess, truth, labels, classify, with_lpips=with_lpips) for guess in guesses]
    judged = {name: np.stack([seed[name] for seed in each]) for name in each[0]}
    trivial = {
        name: score_images(guess, truth, labels, classify, with_lpips=with_lpips)
        for name, guess in {**trivial_guesses(known, truth), **others}.items()
    }
    results, different = [], distinct(guesses)
    for name, all_SN in judged.items():
        scores_SN = all_SN[different]
        metric, sizes = METRICS[name], {"n": scores_SN.shape[1], "seeds": len(scores_SN)}
        found = metric_interval(metric, scores_SN, heading.draws(name))
        results.append(against_best_guess(metric, found, scores_SN, {g: trivial[g][name] for g in trivial}, heading))
        if name in WORST:
            rng = heading.draws(name + WORST_SUFFIX)
            found = worst_interval(metric, scores_SN, rng)
            means = {guess: worst_interval(metric, trivial[guess][name][None], rng).value for guess in trivial}
            results.append(heading.result(name + WORST_SUFFIX, found, baseline=best_guess(metric, means), **sizes))
    return ImageResults(results=results, scores=judged)


def trivial_guesses(known: Known | None, truth: Tensor) -> dict[str, Tensor]:
    """Return the guesses that need no smashed data, by name: without auxiliary data a grey image."""
    if known is None:
        return {"grey-image": torch.full_like(truth, 0.5)}
    return {name: BASELINES[name](known) for name in ATTAINABLE}


def baseline_results(
    name: str, known: Known, labels: Tensor, classify: Classify | None, heading: Heading
) -> list[Result]:
    """Return the results of a trivial guess itself, for tables and plots."""
    guess = BASELINES[name](known)
    found = []
    for metric, scores_N in score_images(guess, known.truth, labels, classify).items():
        interval = metric_interval(METRICS[metric], scores_N[None], heading.draws(metric))
        found.append(heading.result(metric, interval, n=len(scores_N), seeds=1))
    return found
