"""The choice of cuts against brute force over all choices."""

import math
from itertools import combinations

import numpy as np
import pytest

from dtfl_private.errors import InputError
from dtfl_private.models.cutting.cuts import WIDTH_WEIGHT, choose_cuts, cut_cost


def some_network(seed: int, candidates: int) -> tuple[list[float], list[float], float]:
    rng = np.random.default_rng(seed)
    steps = rng.exponential(1, candidates + 1)
    work = np.cumsum(steps)
    return work[:-1].tolist(), rng.choice([1.0, 2.0, 4.0, 8.0], candidates).tolist(), float(work[-1])


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_no_choice_is_better(seed, count):
    work, sizes, total = some_network(seed, 8)
    best = min(cut_cost(work, sizes, total, chosen) for chosen in combinations(range(8), count))
    chosen = choose_cuts(work, sizes, total, count)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == count
    assert cut_cost(work, sizes, total, chosen) == pytest.approx(best, rel=1e-12)


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_no_choice_that_keeps_the_first_is_better(count):
    for seed in range(8):
        work, sizes, total = some_network(seed, 8)
        kept = [(0, *others) for others in combinations(range(1, 8), count - 1)]
        best = min(cut_cost(work, sizes, total, chosen) for chosen in kept)
        chosen = choose_cuts(work, sizes, total, count, first_kept=True)
        assert chosen[0] == 0
        assert len(set(chosen)) == count
        assert cut_cost(work, sizes, total, chosen) == pytest.approx(best, rel=1e-12)


def test_the_objective_written_out():
    # Stages of 1, 2 and 5 of 8: shares of 3/8, 6/8 and 15/8 of the even one. Widths 4 and 1.
    uneven = (5 / 8) ** 2 + (2 / 8) ** 2 + (7 / 8) ** 2
    assert cut_cost([1, 3, 6], [4, 1, 2], 8, [0, 1]) == pytest.approx(uneven + WIDTH_WEIGHT * 2)


def test_equal_blocks_are_cut_evenly():
    assert choose_cuts(list(range(1, 16)), [1.0] * 15, 16, 7) == [1, 3, 5, 7, 9, 11, 13]
    assert choose_cuts(list(range(1, 12)), [1.0] * 11, 12, 3) == [2, 5, 8]


def test_a_needlessly_wide_tensor_is_avoided_where_a_narrow_one_is_near():
    work, total = [float(step) for step in range(1, 20)], 20.0
    narrow = [1.0] * 19
    assert choose_cuts(work, narrow, total, 1) == [9]
    wide_in_the_middle = [8.0 if place == 9 else 1.0 for place in range(19)]
    (chosen,) = choose_cuts(work, wide_in_the_middle, total, 1)
    assert chosen in (8, 10)
    # But not at any price: narrow tensors far off do not win over evenness.
    assert choose_cuts(work, [1.0, *[1.5] * 18], total, 1) == [9]


def test_of_equally_good_choices_the_earlier_is_taken_each_time():
    # Both ends of a symmetric pair cost the same.
    assert choose_cuts([1.0, 3.0], [1.0, 1.0], 4.0, 1) == [0]
    assert {tuple(choose_cuts([1.0, 1.0, 2.0, 2.0], [1.0] * 4, 3.0, 2)) for _ in range(5)} == {(0, 2)}


def test_stages_without_work_are_possible():
    chosen = choose_cuts([0.0, 0.0, 5.0], [1.0, 1.0, 1.0], 5.0, 3)
    assert chosen == [0, 1, 2]
    assert math.isfinite(cut_cost([0.0, 0.0, 5.0], [1.0, 1.0, 1.0], 5.0, chosen))


@pytest.mark.parametrize("count", [0, 4])
def test_more_cuts_than_places_or_none_are_refused(count):
    with pytest.raises(InputError, match=f"{count} cuts are not possible: this network has 3 places"):
        choose_cuts([1.0, 2.0, 3.0], [1.0] * 3, 4.0, count)
