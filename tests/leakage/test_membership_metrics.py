"""Oracles: scikit-learn's AUC, and every threshold tried one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from dtfl_private.leakage import membership_metrics as membership
from dtfl_private.leakage.membership_metrics import (
    accuracy_interval,
    auc,
    auc_interval,
    chance_tpr,
    correct,
    placements,
    smallest_fpr,
    tpr_at,
    tpr_interval,
)
from dtfl_private.randomness import stream

# Few different values: ties within and between the groups.
GROUPS = st.lists(st.integers(-3, 6), min_size=1, max_size=30).map(lambda values: np.array(values, dtype=float))


def once(*groups: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    return list(groups), [np.ones((1, len(group)), dtype=np.int64) for group in groups]


def drawn(seed: int, *groups: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray], list[list[np.ndarray]]]:
    """Return groups, the counts of ten draws, and what was drawn."""
    chance = stream(seed, "draws")
    chosen = [chance.integers(len(group), size=(10, len(group))) for group in groups]
    counts = [
        np.stack([np.bincount(draw, minlength=len(group)) for draw in draws])
        for group, draws in zip(groups, chosen, strict=True)
    ]
    return list(groups), counts, [[group[draw] for draw in draws] for group, draws in zip(groups, chosen, strict=True)]


def tpr_by_trying(members: np.ndarray, others: np.ndarray, fpr: float) -> float:
    rates = [0.0]
    for threshold in {*members, *others}:
        if np.count_nonzero(others >= threshold) <= round(fpr * 1e6) / 1e6 * len(others) + 1e-9:
            rates.append(float(np.mean(members >= threshold)))
    return max(rates)


def sklearn_auc(members: np.ndarray, others: np.ndarray) -> float:
    return float(roc_auc_score([1] * len(members) + [0] * len(others), np.concatenate([members, others])))


@settings(deadline=None)
@given(GROUPS, GROUPS)
def test_auc_is_that_of_scikit_learn(members, others):
    assert auc(*once(members, others))[0] == pytest.approx(sklearn_auc(members, others))


@given(GROUPS, GROUPS, st.sampled_from([0.001, 0.05, 0.1, 0.25, 0.5, 1.0]))
def test_the_rate_at_few_false_alarms_is_the_best_of_all_thresholds(members, others, fpr):
    assert tpr_at(fpr)(*once(members, others))[0] == pytest.approx(tpr_by_trying(members, others, fpr))


@settings(max_examples=30, deadline=None)
@given(GROUPS, GROUPS, st.integers(0, 1000))
def test_draws_are_scored_as_what_was_drawn(members, others, seed):
    groups, counts, (of_members, of_others) = drawn(seed, members, others)
    expected = [sklearn_auc(*pair) for pair in zip(of_members, of_others, strict=True)]
    np.testing.assert_allclose(auc(groups, counts), expected)
    expected = [tpr_by_trying(*pair, 0.2) for pair in zip(of_members, of_others, strict=True)]
    np.testing.assert_allclose(tpr_at(0.2)(groups, counts), expected)


def test_separate_groups_and_reversed_ones():
    low, high = np.arange(50.0), np.arange(50.0) + 100
    assert auc(*once(high, low)) == 1
    assert auc(*once(low, high)) == 0
    assert tpr_at(0.01)(*once(high, low)) == 1
    assert tpr_at(0.01)(*once(low, high)) == 0


def test_equal_scores_show_nothing():
    same = np.zeros(200)
    assert auc(*once(same, same)) == 0.5
    assert tpr_at(0.01)(*once(same, same)) == 0


def test_exactly_as_many_false_alarms_as_allowed_are_allowed():
    """1 in 100: the second-highest non-member is the first false alarm too many."""
    others = np.arange(100.0)
    members = np.array([98.5, 97.5])
    assert tpr_at(0.01)(*once(members, others)) == 0.5
    assert tpr_at(0.0099)(*once(members, others)) == 0
    assert tpr_at(0.02)(*once(members, others)) == 1


def test_the_smallest_rate_is_one_false_alarm():
    assert smallest_fpr(1000) == 0.001
    assert membership.LOW_FPRS == (0.01, 0.001)


def test_intervals_hold_the_values_and_a_rate_of_none_has_the_exact_bound():
    chance = stream(0, "scores")
    members, others = chance.normal(size=(3, 100)) + 1, chance.normal(size=(3, 100))
    found = auc_interval(members, others, stream(0, "draws"))
    each = [sklearn_auc(*pair) for pair in zip(members, others, strict=True)]
    assert found.value == pytest.approx(np.mean(each))
    assert 0.6 < found.low < found.value < found.high < 0.9
    none = tpr_interval(others[:1], np.full((1, 100), 99.0), 0.01, stream(0, "draws"))
    assert (none.value, none.low, none.high) == (0, 0, pytest.approx(1 - 0.025**0.01))


def test_accuracy_takes_each_half_with_the_threshold_of_the_other():
    members, others = np.array([5.0, 6.0, 1.0, 7.0]), np.array([0.0, 2.0, 3.0, 1.0])
    # Even positions: members 5 and 1, non-members 0 and 3; odd ones: members 6 and 7, non-members 2 and 1.
    # From the odd ones: "member" from 6 on. From the even ones: from 1 or from 5 on, equally good; the lower counts.
    right_members, right_others = correct(members, others)
    assert right_members.tolist() == [0, 1, 0, 1]
    assert right_others.tolist() == [1, 0, 1, 0]
    found = accuracy_interval(members[None], others[None], stream(0, "draws"))
    assert found.value == 0.5


def test_accuracy_of_separate_groups_is_1_and_both_groups_weigh_the_same():
    members, others = np.full((2, 10), 1.0), np.zeros((2, 90))
    assert accuracy_interval(members, others, stream(0, "draws")).value == 1
    assert accuracy_interval(others, others, stream(0, "draws")).value == 0.5
    with pytest.raises(ValueError, match="too few"):
        correct(np.zeros(1), np.zeros(5))


def test_groups_that_are_quite_apart_leave_the_exact_bound():
    """As many independent pairs as the smaller group has: 0.025^(1/n). For balanced accuracy both count."""
    high, low = 10 + stream(0, "high").normal(size=(3, 20)), stream(0, "low").normal(size=(3, 30))
    found = auc_interval(high, low, stream(0, "draws"))
    assert (found.value, found.low, found.high) == (1, pytest.approx(0.025 ** (1 / 20)), 1)
    found = auc_interval(low, high, stream(0, "draws"))
    assert (found.value, found.low, found.high) == (0, 0, pytest.approx(1 - 0.025 ** (1 / 20)))
    found = accuracy_interval(np.ones((3, 20)), np.zeros((3, 30)), stream(0, "draws"))
    assert (found.value, found.low, found.high) == (1, pytest.approx(0.025 ** (1 / 40)), 1)


def test_the_bound_of_separate_groups_holds_and_is_not_to_be_bettered():
    """One of 20 members' scores decides: all 20 are above the others with the probability A^20 = 0.025, just then.

    10,000 draws: within 5 deviations of 0.0016, false alarm 6e-7.
    """
    area = 0.025 ** (1 / 20)
    apart = (stream(0, "area").random((10_000, 20)) < area).all(axis=1).mean()
    assert apart == pytest.approx(0.025, abs=5 * (0.025 * 0.975 / 10_000) ** 0.5)


@pytest.mark.parametrize("interval", [auc_interval, lambda *given: tpr_interval(*given[:2], 0.01, given[2])])
def test_one_member_or_one_non_member_leaves_everything_possible(interval):
    many, one = np.arange(10.0)[None], np.array([[20.0]])
    for groups in ((one, many), (many, one)):
        found = interval(*groups, stream(0, "draws"))
        assert (found.low, found.high) == (0, 1)


@pytest.mark.parametrize("interval", [auc_interval, accuracy_interval])
def test_a_score_that_is_no_number_is_refused(interval):
    with pytest.raises(ValueError, match="no finite number"):
        interval(np.array([[1.0, np.nan]]), np.zeros((1, 5)), stream(0, "draws"))


@pytest.mark.parametrize(("nonmembers", "fpr"), [(64, 0.01), (200, 0.01), (1000, 0.001), (100, 0.05)])
def test_scores_that_say_nothing_have_the_mean_rate_of_chance(nonmembers, fpr):
    # 4,000 draws of a rate whose deviation is below 0.03: the mean is within 5 standard errors but once in 2 million.
    rng, rates = np.random.default_rng(1), []
    for _ in range(4000):
        groups = [rng.standard_normal(40), rng.standard_normal(nonmembers)]
        rates.append(tpr_at(fpr)(groups, [np.ones((1, len(group)), dtype=np.int64) for group in groups])[0])
    assert abs(np.mean(rates) - chance_tpr(nonmembers, fpr)) < 5 * np.std(rates) / np.sqrt(len(rates))


def test_placements_add_up_to_the_auc_and_ties_count_half():
    members, others = stream(0, "members").integers(0, 6, (3, 40)), stream(0, "others").integers(0, 5, (3, 30))
    groups = placements(members.astype(float), others.astype(float))
    expected = [auc(*once(*pair))[0] for pair in zip(members, others, strict=True)]
    assert sum(group.mean(axis=1) for group in groups) == pytest.approx(expected)
    assert groups[1].mean() == pytest.approx(0)
