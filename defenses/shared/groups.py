"""Groups of at least k records that are alike: micro-aggregation. No defense of its own. Pure functions."""

import torch
from torch import Tensor

from dtfl_private.leakage.dcor import distances


def mdav(rows: Tensor, k: int) -> list[Tensor]:
    """Return groups of k to 2k-1 of the rows of a sample (n, D), each as ascending row numbers; one if n < 2k.

    Maximum distance to average vector (Domingo-Ferrer and Torra 2005, Data Mining and Knowledge Discovery 11,
    algorithm MDAV-generic): the k rows nearest to the row furthest from the mean, those nearest to the one furthest
    from that, and so on. Without chance; rows in another order make the same groups, but where distances are equal.

    Args:
        rows: the sample.
        k: records of a group, at least.
    """
    apart = distances(rows)
    left = torch.arange(len(rows), device=rows.device)
    groups: list[Tensor] = []
    while len(left) >= 2 * k:
        furthest = _furthest(rows, left)
        groups.append(_nearest(apart, left, furthest, k))
        left = _without(left, groups[-1])
        if len(left) >= 2 * k:
            groups.append(_nearest(apart, left, left[apart[furthest, left].argmax()], k))
            left = _without(left, groups[-1])
    return [*groups, left]


def _furthest(rows: Tensor, left: Tensor) -> Tensor:
    """Return which of the rows that are left is furthest from their mean."""
    there = rows[left].flatten(1)
    return left[torch.linalg.vector_norm(there - there.mean(dim=0), dim=1).argmax()]


def _nearest(apart: Tensor, left: Tensor, row: Tensor, k: int) -> Tensor:
    return left[apart[row, left].topk(k, largest=False).indices].sort().values


def _without(left: Tensor, taken: Tensor) -> Tensor:
    return left[~torch.isin(left, taken)]


def group_numbers(rows: Tensor, classes: Tensor, k: int) -> Tensor | None:
    """Return the number of each row's group (n,), of at least k rows each; None if n < k.

    Rows of a class with at least k of them are in groups of that class; those of other classes in groups of their own,
    or, if they are fewer than k in all, each in the group whose mean is nearest.

    Args:
        rows: (n, D), without gradient.
        classes: (n,).
        k: at least 1.
    """
    if len(rows) < k:
        return None
    sizes = (classes[:, None] == classes[None, :]).sum(dim=1)
    pools = [(classes == one).nonzero().flatten() for one in torch.unique(classes[sizes >= k])]
    rest = (sizes < k).nonzero().flatten()
    if len(rest) >= k:
        pools.append(rest)
    groups = [pool[group] for pool in pools for group in mdav(rows[pool], k)]
    numbers = torch.full_like(classes, -1)
    for number, group in enumerate(groups):
        numbers[group] = number
    if 0 < len(rest) < k:
        means = torch.stack([rows[group].mean(dim=0) for group in groups])
        numbers[rest] = torch.cdist(rows[rest], means).argmin(dim=1)
    return numbers


def equal_rows(values: Tensor) -> Tensor:
    """Return a number for each record (B,) of values (B, ...), the same for records that are equal to the bit."""
    numbers: Tensor = torch.unique(values.flatten(1), dim=0, return_inverse=True)[1]
    return numbers
