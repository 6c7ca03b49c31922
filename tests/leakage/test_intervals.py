import numpy as np
import pytest
from scipy.stats import binomtest

from dtfl_private.leakage import intervals
from dtfl_private.leakage.intervals import (
    Interval,
    bootstrap,
    difference_interval,
    mean_interval,
    metric_interval,
    with_share_bound,
    worst,
    worst_interval,
)
from dtfl_private.leakage.metrics import ACCURACY, IDENTIFIABILITY, MSE, PSNR, SSIM
from dtfl_private.randomness import stream


def rng(name: str = "test") -> np.random.Generator:
    return stream(0, "bootstrap", name)


def scores(seeds: int, images: int) -> np.ndarray:
    return stream(3, "scores").normal(size=(seeds, images))


def test_the_interval_of_a_mean_is_that_of_its_standard_error():
    values = scores(1, 400)
    found = mean_interval(values, rng())
    error = values.std() / 20
    assert found.value == pytest.approx(values.mean())
    # 2,000 draws: the quantiles of the bootstrap itself scatter by about 0.06 standard errors.
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.25 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.25 * error)


def test_seeds_are_drawn_too():
    """Images that are all alike: what remains is Student's interval of the seeds' mean."""
    for seeds, quantile in ((2, 12.706), (3, 4.303), (40, 2.023)):
        values = np.repeat(scores(seeds, 1), 10, axis=1)
        found = mean_interval(values, rng())
        error = values[:, 0].std(ddof=1) / np.sqrt(seeds)
        assert (found.low, found.high) == pytest.approx(
            (found.value - quantile * error, found.value + quantile * error), rel=1e-3
        )


def test_an_image_is_drawn_in_all_seeds_together():
    """Three times the same scores are no more images than once."""
    once, thrice = scores(1, 200), np.repeat(scores(1, 200), 3, axis=0)
    single, triple = mean_interval(once, rng()), mean_interval(thrice, rng("other"))
    assert triple.high - triple.low == pytest.approx(single.high - single.low, rel=0.1)


def test_draws_are_those_of_their_stream():
    values = scores(3, 50)
    assert mean_interval(values, rng()) == mean_interval(values, rng())
    assert mean_interval(values, rng()) != mean_interval(values, rng("other"))


@pytest.mark.parametrize(("metric", "expected"), [(SSIM, np.mean([99, 98, 97, 96, 95])), (MSE, 2.0)])
def test_the_worst_are_the_most_exposed_five_percent(metric, expected):
    values = stream(0, "order").permutation(100).astype(float)[None]
    assert worst_interval(metric, values, rng()).value == expected


def test_the_worst_of_a_draw_are_those_of_its_images_counted_as_often_as_drawn():
    """Against sorting each draw."""
    chance = stream(1, "worst")
    values = chance.normal(size=37).round(1)
    drawn = chance.integers(37, size=(20, 37))
    counts = np.stack([np.bincount(draw, minlength=37) for draw in drawn])
    for metric, sign in ((SSIM, -1), (MSE, 1)):
        expected = [sign * np.sort(sign * values[draw])[:7].mean() for draw in drawn]
        np.testing.assert_allclose(worst(metric, share=0.2)([values], [counts]), expected)


def test_the_worst_of_few_images_is_one():
    values = np.array([[3.0, 1.0, 2.0]])
    assert worst_interval(SSIM, values, rng()).value == 3
    assert worst_interval(MSE, values, rng()).value == 1


def test_each_seed_has_worst_images_of_its_own():
    values = np.tile(np.arange(20.0), (2, 1))
    values[1] = values[1][::-1] * 10
    assert worst_interval(SSIM, values, rng()).value == (19 + 190) / 2


def test_a_paired_difference_is_narrower_than_two_intervals():
    first = scores(3, 100)
    second = first - 0.1 + 0.01 * stream(5, "noise").normal(size=first.shape)
    found = difference_interval(first, second, rng())
    assert 0.09 < found.low < found.value < found.high < 0.11
    assert mean_interval(first, rng()).low < mean_interval(second, rng()).high
    with pytest.raises(ValueError, match="not of the same images"):
        difference_interval(first, second[:2], rng())


def test_a_share_of_none_or_all_has_the_exact_bound():
    """Clopper and Pearson: no success in 10 trials leaves up to 30.8 % possible."""
    none = metric_interval(IDENTIFIABILITY, np.zeros((3, 10)), rng())
    assert (none.value, none.low, none.high) == (0, 0, pytest.approx(0.30849711))
    every = metric_interval(IDENTIFIABILITY, np.ones((3, 10)), rng())
    assert (every.value, every.low, every.high) == (1, pytest.approx(1 - 0.30849711), 1)
    assert metric_interval(SSIM, np.ones((3, 10)), rng()) == Interval(value=1, low=1, high=1)
    some = Interval(value=0.5, low=0.4, high=0.6)
    assert with_share_bound(some, 10) == some


def test_an_interval_contains_its_value_and_nothing_that_a_metric_cannot_be():
    found = bootstrap([scores(1, 10)], worst(SSIM, share=0.01), rng())
    assert found.low < found.value < found.high
    almost = 1 - 0.001 * stream(0, "almost").exponential(size=(3, 64))
    assert metric_interval(SSIM, almost, rng()).high < 1
    few = np.array([[0.9, 1.0]])
    assert metric_interval(SSIM, few, rng()).high == 1
    assert metric_interval(MSE, 1 - few, rng()).low == 0


def test_an_interval_leans_to_where_the_long_tail_is():
    found = metric_interval(PSNR, stream(0, "skewed").lognormal(size=(1, 64)), rng())
    assert found.high - found.value > 1.3 * (found.value - found.low)
    even = metric_interval(PSNR, 20 + stream(0, "even").normal(size=(1, 64)), rng())
    assert even.high - even.value == pytest.approx(even.value - even.low, rel=0.1)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(("metric", "limits"), [(SSIM, (-1, 1)), (MSE, (0, 1)), (PSNR, (0, 100)), (ACCURACY, (0, 1))])
def test_one_image_shows_no_spread_so_that_anything_is_possible(metric, limits, seeds):
    for interval in (metric_interval, worst_interval):
        found = interval(metric, np.ones((seeds, 1)), rng())
        assert (found.value, found.low, found.high) == (1, *limits)


def test_a_share_near_an_end_is_no_surer_than_one_at_the_end():
    """Of 64 images one is not told apart. Clopper and Pearson, as computed by scipy's binomial test."""
    exact = binomtest(63, 64).proportion_ci(0.95, method="exact")
    found = metric_interval(IDENTIFIABILITY, (np.arange(64) > 0).astype(float)[None], rng())
    assert found.low <= exact.low + 1e-9
    assert found.high >= exact.high - 1e-9
    assert found.low < metric_interval(IDENTIFIABILITY, np.ones((1, 64)), rng()).low


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([np.zeros(5)], "must be"),
        ([np.zeros((0, 5))], "must be"),
        ([np.zeros((2, 0))], "must be"),
        ([np.zeros((2, 5)), np.zeros((3, 5))], "same seeds"),
        ([np.array([[1.0, np.nan]])], "no finite number"),
        ([np.array([[1.0, np.inf]])], "no finite number"),
    ],
)
def test_what_are_no_scores_is_refused(groups, message):
    with pytest.raises(ValueError, match=message):
        bootstrap(groups, intervals.mean, rng())
