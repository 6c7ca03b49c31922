"""Groups compared: against all permutations, against brute-force integration, and over many simulated comparisons."""

import itertools
import math

import numpy as np
import pytest
from scipy.special import ndtr

from dtfl_private.leakage import between_groups
from dtfl_private.leakage.between_groups import compare_groups


def compared(scores, groups, seed=0, permutations=9_999):
    rng = np.random.default_rng(seed)
    return compare_groups(np.asarray(scores, dtype=float), np.asarray(groups), rng, permutations)


def test_p_values_are_those_of_all_ways_to_deal_records_out():
    """Of 210 deals; drawn p-values are off by 5 standard errors once in 1.7 million."""
    scores, groups = np.array([3.0, 2.5, 5.1, 0.2, 4.0, 2.9, 1.1]), np.array([0, 0, 0, 1, 1, 2, 2])

    def statistics(dealt):
        means = [dealt[groups == k].mean() for k in range(3)]
        squares = sum((groups == k).sum() * (means[k] - scores.mean()) ** 2 for k in range(3))
        excess = []
        for k in range(3):
            own = (groups == k).sum()
            rest = dealt[groups != k].mean()
            excess.append((means[k] - rest) / math.sqrt(1 / own + 1 / (len(dealt) - own)))
        return squares, excess

    deals = [statistics(np.array(dealt)) for dealt in itertools.permutations(scores)]
    squares, excess = statistics(scores)
    exact = np.mean([drawn >= squares - 1e-9 for drawn, _ in deals])
    exact_K = [np.mean([max(map(abs, drawn)) >= abs(one) - 1e-9 for _, drawn in deals]) for one in excess]
    assert min(exact_K) > 0.05  # nobody stands out, so that there is one comparison
    found = compared(scores, groups)
    for drawn, true in zip([found.p_value, *(one.p_value for one in found.groups)], [exact, *exact_K], strict=True):
        assert abs(drawn - true) < 5 * math.sqrt(true * (1 - true) / 9_999) + 1 / 10_000
    assert [one.above for one in found.groups] == [one > 0 for one in excess]


def test_expected_scores_are_those_of_brute_force_integration():
    """Mean and deviation between groups on a grid, without any of the closed forms; ends of intervals likewise."""
    rng = np.random.default_rng(5)
    groups = np.repeat([0, 1, 2, 3], [4, 9, 25, 2])
    scores = rng.normal(size=len(groups)) + np.array([0.0, 1.5, 0.2, -0.7])[groups]
    means = np.array([scores[groups == k].mean() for k in range(4)])
    within = sum(((scores[groups == k] - means[k]) ** 2).sum() for k in range(4)) / (len(scores) - 4)
    variances = within / np.array([4, 9, 25, 2])
    mean_M = np.linspace(-12, 12, 1201)[:, None, None]
    deviation_D = np.geomspace(1e-3, 200, 900)[None, :, None]
    scale, steps = scores.std(), np.gradient(deviation_D[0, :, 0])[None, :, None]
    total = variances + deviation_D**2
    likelihood = np.exp(-((means - mean_M) ** 2) / (2 * total)) / np.sqrt(total)
    weight = likelihood.prod(axis=2, keepdims=True) * steps / (1 + (deviation_D / scale) ** 2)
    centre = (means * deviation_D**2 + mean_M * variances) / total
    expected = (weight * centre).sum(axis=(0, 1)) / weight.sum()
    found = compared(scores, groups, permutations=9)
    assert [one.shrunk for one in found.groups] == pytest.approx(expected, abs=0.01)
    spread = np.sqrt(variances * deviation_D**2 / total)
    for ends, tail in (([one.low for one in found.groups], 0.025), ([one.high for one in found.groups], 0.975)):
        below = (weight * ndtr((np.array(ends) - centre) / spread)).sum(axis=(0, 1)) / weight.sum()
        assert below == pytest.approx(np.full(4, tail), abs=0.002)


def test_intervals_contain_the_truth_and_equal_groups_are_called_different_in_one_of_twenty():
    """Of 200 comparisons 3 to 19 (false alarm 1 in 200); of 1,600 intervals 91 to 99 %; scores are skewed."""
    rng = np.random.default_rng(11)
    rejected, named, held = 0, 0, []
    for number in range(400):
        sizes = rng.integers(3, 40, size=8)
        groups = np.repeat(np.arange(8), sizes)
        truth = (0.4 if number % 2 else 0.0) * rng.normal(size=8)
        permutations = 9 if number % 2 else 199  # intervals need none
        found = compared(truth[groups] + rng.exponential(size=len(groups)), groups, number, permutations=permutations)
        if number % 2:
            held += [one.low <= truth[one.group] + 1 <= one.high for one in found.groups]
        else:
            rejected += found.p_value <= 0.05
            named += min(one.p_value for one in found.groups) <= 0.05
    assert 3 <= rejected <= 19
    assert named <= 19
    assert 0.91 <= np.mean(held) <= 0.99


def test_few_records_are_shrunk_and_many_are_not():
    rng = np.random.default_rng(2)
    groups = np.repeat([0, 1, 2, 3, 4, 5], [2, 400, 400, 400, 400, 400])
    scores = rng.normal(scale=1.0, size=len(groups)) + np.array([3.0, 0.0, 0.4, -0.4, 0.2, -0.2])[groups]
    few, many = compared(scores, groups, permutations=9).groups[:2]
    assert few.shrunk < few.value - 0.5
    assert many.shrunk == pytest.approx(many.value, abs=0.02)
    assert few.high - few.low > 5 * (many.high - many.low)


def test_who_stands_out_after_another_is_no_surer_than_that_one():
    """Without the farthest group, which makes all scores scatter, the second one's p-value would be half as large."""
    rng = np.random.default_rng(6)
    groups = np.repeat(np.arange(4), [3, 3, 6, 6])
    scores = rng.normal(size=18) + np.array([3.0, -2.5, 0.0, 0.0])[groups]
    found = {one.group: one.p_value for one in compared(scores, groups, permutations=1999).groups}
    alone = {one.group: one.p_value for one in compared(scores[groups > 0], groups[groups > 0]).groups}
    assert alone[1] < 0.75 * found[0]
    assert found[1] == found[0] < 0.05


@pytest.mark.parametrize(("moved", "named"), [({7: 1.5}, {7: True}), ({7: -5.0}, {7: False})])
def test_a_group_that_stands_out_is_named_and_no_other(moved, named):
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(10), 20)
    shift = np.array([moved.get(group, 0.0) for group in range(10)])
    found = compared(rng.normal(size=200) + shift[groups], groups)
    assert found.p_value < 0.001
    assert {one.group: one.above for one in found.groups if one.p_value <= 0.05} == named
    assert found.deviation > 0.2


def test_one_far_group_hides_no_other():
    rng = np.random.default_rng(6)
    groups = np.repeat(np.arange(8), 20)
    shift = np.array([-30.0, 0, 0, 2.0, 0, 0, 0, 0])
    found = compared(rng.normal(size=160) + shift[groups], groups)
    assert {one.group: one.above for one in found.groups if one.p_value <= 0.05} == {0: False, 3: True}


def test_equal_scores_differ_by_nothing():
    found = compared(np.full(12, 0.7), np.repeat([0, 1, 2], 4))
    assert (found.p_value, found.deviation) == (1.0, pytest.approx(0.0, abs=1e-12))
    assert {(one.shrunk, one.low, one.high, one.p_value) for one in found.groups} == {(0.7, 0.7, 0.7, 1.0)}


def test_chunks_do_not_matter(monkeypatch):
    rng = np.random.default_rng(4)
    scores, groups = rng.normal(size=30), np.repeat(np.arange(3), 10)
    whole = compared(scores, groups, permutations=499)
    monkeypatch.setattr(between_groups, "CHUNK_BYTES", 8 * 30 * 7)
    assert compared(scores, groups, permutations=499) == whole


@pytest.mark.parametrize(
    ("scores", "groups"),
    [([1.0, 2.0], [0, 0]), ([1.0, math.nan], [0, 1]), ([1.0, 2.0, 3.0], [0, 1]), ([[1.0, 2.0]], [[0, 1]])],
)
def test_what_cannot_be_compared_is_refused(scores, groups):
    with pytest.raises(ValueError, match=r"one group alone|are needed"):
        compared(scores, groups)
