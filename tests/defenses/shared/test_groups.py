"""Groups of similar records."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dtfl_private.defenses.shared.groups import equal_rows, group_numbers, mdav


def a_sample(count: int, seed: int = 0, values: int = 5) -> Tensor:
    return torch.randn(count, values, generator=torch.Generator().manual_seed(seed))


def plain_mdav(rows: Tensor, k: int) -> set[frozenset[int]]:
    """The algorithm as published, in plain loops, with the cases of 3k, 2k and fewer rows written out."""
    left, groups = set(range(len(rows))), []

    def far(point: Tensor) -> int:
        return max(left, key=lambda row: float((rows[row] - point).norm()))

    def take(row: int) -> None:
        near = sorted(left, key=lambda other: float((rows[other] - rows[row]).norm()))[:k]
        groups.append(frozenset(near))
        left.difference_update(near)

    while len(left) >= 3 * k:
        first = far(rows[sorted(left)].mean(dim=0))
        second = far(rows[first])
        take(first)
        # The second is furthest from the first, hence not among the nearest.
        take(second)
    if len(left) >= 2 * k:
        take(far(rows[sorted(left)].mean(dim=0)))
    return {*groups, frozenset(left)} if left else set(groups)


@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 1000))
def test_groups_are_those_of_the_algorithm_as_published(count, k, seed):
    rows = a_sample(count, seed).double()
    found = {frozenset(group.tolist()) for group in mdav(rows, k)}
    assert found == plain_mdav(rows, k)
    if count >= k:
        assert all(k <= len(group) < 2 * k for group in found)
    assert sorted(itertools.chain(*found)) == list(range(count))


def test_four_clusters_are_found():
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 11.0], [13.0, 12.0]])
    rows = (centres[:, None] + 0.1 * a_sample(12, values=2).reshape(4, 3, 2)).reshape(12, 2)
    found = {frozenset(group.tolist()) for group in mdav(rows, 3)}
    assert found == {frozenset(range(start, start + 3)) for start in (0, 3, 6, 9)}


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(1, 6), st.randoms(use_true_random=False))
def test_every_group_has_k_rows_of_one_class_where_there_are_as_many_and_the_order_does_not_matter(classes, k, random):
    labels, rows = torch.tensor(classes), a_sample(len(classes)).double()
    numbers = group_numbers(rows, labels, k)
    if len(classes) < k:
        assert numbers is None
        return
    assert numbers is not None
    assert min(int((numbers == number).sum()) for number in numbers.unique()) >= k
    frequent = {label for label in classes if classes.count(label) >= k}
    for number in numbers.unique():
        assert len(frequent & set(labels[numbers == number].tolist())) <= 1
    order = list(range(len(classes)))
    random.shuffle(order)
    moved = group_numbers(rows[order], labels[order], k)
    assert moved is not None
    original = numbers[order]
    assert torch.equal(moved[:, None] == moved[None, :], original[:, None] == original[None, :])


def test_a_few_of_rare_classes_join_the_group_with_the_nearest_mean():
    rows = torch.tensor([[0.0], [0.2], [9.0], [9.2], [8.0]])
    numbers = group_numbers(rows, torch.tensor([0, 0, 1, 1, 2]), 2)
    assert numbers is not None
    assert numbers[4] == numbers[2] == numbers[3] != numbers[0] == numbers[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equal_rows_have_one_number(dtype):
    values = a_sample(3).to(dtype)[[0, 1, 0, 2, 1]].reshape(5, 1, 5)
    numbers = equal_rows(values)
    assert numbers[0] == numbers[2] != numbers[1] == numbers[4]
    assert len(numbers.unique()) == 3
