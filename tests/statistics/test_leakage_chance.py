"""Chance in scores of leakage: levels of chance, and how often intervals contain the truth.

Each test draws from a fixed stream. Its rate of false alarms is that over streams, if the code is right.
"""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy.stats import binom, norm

from dtfl_private.leakage.baselines import mean_image
from dtfl_private.leakage.image_metrics import identifiability, mse
from dtfl_private.leakage.intervals import Interval, Statistic, bootstrap, mean, metric_interval, worst
from dtfl_private.leakage.membership_metrics import auc, correct
from dtfl_private.leakage.metrics import ACCURACY, SSIM
from dtfl_private.randomness import stream, torch_stream

FALSE_ALARM = 1e-6


def normal(*shape: int, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=shape)


def as_often_as(coverage: float, tolerance: float, intervals: Sequence[Interval], truth: float) -> bool:
    """Return whether intervals contain the truth as often as is possible with a coverage within the tolerance.

    False alarm 1e-6 on either side.
    """
    hits = sum(found.low <= truth <= found.high for found in intervals)
    low = binom.ppf(FALSE_ALARM, len(intervals), coverage - tolerance)
    high = binom.ppf(1 - FALSE_ALARM, len(intervals), coverage + tolerance)
    return bool(low <= hits <= high)


def test_random_reconstructions_identify_one_in_n():
    """20 sets of 50 guesses, 20 of 1,000 right on average, within the limits of a binomial; false alarm 2e-6.

    Given the candidates, the guesses of a set are right independently of each other, with probabilities that add up to
    1, as each guess has one nearest candidate; that varies less than a binomial with 1/50.
    """
    generator = torch_stream(0, "random reconstructions")
    found = 0.0
    for _ in range(20):
        truth, guess = torch.rand(2, 50, 1, 4, 4, generator=generator)
        found += identifiability(guess, truth).sum()
    assert binom.ppf(FALSE_ALARM, 1000, 1 / 50) <= found <= binom.ppf(1 - FALSE_ALARM, 1000, 1 / 50)


def test_a_leak_of_a_fifth_of_the_images_would_be_noticed():
    generator = torch_stream(0, "random reconstructions")
    truth, guess = torch.rand(2, 1000, 1, 4, 4, generator=generator)
    guess[::5] = truth[::5]
    assert identifiability(guess, truth).sum() > binom.ppf(1 - FALSE_ALARM, 1000, 1 / 50)


def simulated(seeds: int, rng: np.random.Generator) -> np.ndarray:
    """Return scores (seeds, 100), true mean 0: images differ most, repetitions less, seeds little."""
    return normal(100, rng=rng) + 0.02 * normal(seeds, 1, rng=rng) + 0.3 * normal(seeds, 100, rng=rng)


@pytest.mark.parametrize("seeds", [1, 3])
def test_intervals_of_a_mean_contain_it_as_often_as_they_say(seeds):
    rng = stream(0, "coverage", seeds)
    found = [bootstrap([simulated(seeds, rng)], mean, rng, draws=300) for _ in range(1500)]
    assert as_often_as(0.95, 0.02, found, 0)
    # Intervals of half the width would contain it in 67 % of cases, of twice the width always.
    for factor in (0.5, 2.0):
        scaled = [
            Interval(
                value=one.value,
                low=one.value + factor * (one.low - one.value),
                high=one.value + factor * (one.high - one.value),
            )
            for one in found
        ]
        assert not as_often_as(0.95, 0.02, scaled, 0)


def test_intervals_that_take_seeds_for_images_would_be_noticed():
    """Three times the same images as if they were 300."""
    rng = stream(0, "pooled")
    found = [bootstrap([simulated(3, rng).reshape(1, -1)], mean, rng, draws=300) for _ in range(400)]
    assert not as_often_as(0.95, 0.02, found, 0)


def test_two_seeds_that_differ_more_than_images_are_enough_for_a_true_interval():
    """Drawing one of two seeds with replacement, the bootstrap contained the truth in 61 % of cases."""
    rng = stream(0, "two seeds")
    found = [bootstrap([normal(64, rng=rng) + 1.25 * normal(2, 1, rng=rng)], mean, rng, draws=200) for _ in range(1000)]
    assert as_often_as(0.95, 0.02, found, 0)


def test_intervals_of_skewed_scores_contain_the_mean():
    """Of 16 lognormal scores, 90 %, where the bootstrap's quantiles contained 84 %; false alarm 1e-6."""
    rng = stream(0, "skewed", 16)
    found = [bootstrap([rng.lognormal(size=(1, 16))], mean, rng, draws=300) for _ in range(1500)]
    hits = sum(one.low <= np.exp(0.5) <= one.high for one in found)
    assert hits >= binom.ppf(FALSE_ALARM, 1500, 0.90)


def test_intervals_of_a_small_share_contain_it():
    """A fifth of 16 images: the bootstrap's quantiles contained it in 87 % of cases; false alarm 1e-6."""
    rng = stream(0, "share")
    found = [metric_interval(ACCURACY, (rng.random((1, 16)) < 0.2).astype(float), rng) for _ in range(600)]
    assert sum(one.low <= 0.2 <= one.high for one in found) >= binom.ppf(FALSE_ALARM, 600, 0.98)


STATISTICS: dict[str, tuple[Statistic, float, int, int, float]] = {
    # Statistic, truth, groups, images, shift of the first group. The truth of normal scores: the mean of the upper 5 %
    # is the density at the 95 % quantile over 5 %; the AUC of two that are d apart is Phi(d / sqrt 2).
    "worst 5 %": (worst(SSIM), norm.pdf(norm.ppf(0.95)) / 0.05, 1, 600, 0.0),
    "AUC": (auc, norm.cdf(0.5 / np.sqrt(2)), 2, 100, 0.5),
}


@pytest.mark.parametrize("name", STATISTICS)
def test_intervals_of_other_statistics_contain_them_as_often_as_stated(name):
    statistic, truth, groups, images, shift = STATISTICS[name]
    rng = stream(0, "coverage", name)
    found = []
    for _ in range(300):
        scores = [normal(1, images, rng=rng) for _ in range(groups)]
        scores[0] += shift
        found.append(bootstrap(scores, statistic, rng, draws=200))
    assert as_often_as(0.93, 0.03, found, truth)


def test_an_accuracy_without_anything_to_see_is_a_half():
    """200 times 20 members and 20 non-members: 8,000 records; 6 standard errors of 0.0056, false alarm below 1e-6.

    Halves that judge each other make records of one set dependent; the spread of the 200 means is what is used.
    """
    rng = stream(0, "accuracy")
    means = np.array([np.mean(correct(normal(20, rng=rng), normal(20, rng=rng))) for _ in range(200)])
    assert abs(means.mean() - 0.5) < 6 * means.std() / np.sqrt(200)


def test_thresholds_judged_where_they_were_chosen_would_be_noticed():
    rng = stream(0, "accuracy")
    means = []
    for _ in range(200):
        members, others = normal(2, 20, rng=rng)
        best = max(np.mean(members >= t) + np.mean(others < t) for t in [*members, *others])
        means.append(best / 2)
    assert abs(np.mean(means) - 0.5) > 6 * np.std(means) / np.sqrt(200)


def test_noise_about_the_mean_image_does_not_beat_it():
    """A guess independent of the truth costs its own variance: its mean MSE is 2/12 where the mean image has 1/12."""
    generator = torch_stream(0, "mean image")
    truth, guess, auxiliary = torch.rand(3, 200, 1, 8, 8, generator=generator)
    assert mse(mean_image(auxiliary, 200), truth).mean() == pytest.approx(1 / 12, rel=0.05)
    assert mse(guess, truth).mean() == pytest.approx(2 / 12, rel=0.05)
