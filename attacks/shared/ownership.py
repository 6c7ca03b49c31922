"""Who owns which record: a record is that of one candidate at most, and a candidate owns one record at most."""

import math

import torch
from torch import Tensor

ROUNDS = 60


def log_odds_of_owning(ratios: Tensor) -> Tensor:
    """Return the log odds (candidates,), float64, of each candidate to own one of the records.

    A candidate that resembles a record gets little for it where another explains that record better. Of all ways to
    give records to candidates, each weighs as much as the product of its pairs' likelihood ratios; which candidates own
    one in most of that weight is found by belief propagation (Bayati et al. 2008, "Max-product for maximum weight
    matching", here in its sum-product form), exact where no two candidates compete for the same two records.

    Args:
        ratios: (candidates, records), log p(record | candidate) - log p(record | any image).
    """
    # Half of the candidates are members, of which each may own a record as likely as another.
    pairs = ratios.double() + math.log(2 / len(ratios))
    to_candidates = torch.zeros_like(pairs)
    for _ in range(ROUNDS):
        to_records = -_log_one_and_others(pairs + to_candidates, dim=1)
        latest = -_log_one_and_others(pairs + to_records, dim=0)
        to_candidates = (to_candidates + latest) / 2  # damped: without, messages may swing for good
    return (pairs + to_candidates).logsumexp(dim=1)


def _log_one_and_others(values: Tensor, dim: int) -> Tensor:
    """Return log(1 + sum of exp of all others along a dimension), without the loss that subtracting would bring."""
    count, first = values.shape[dim], values.narrow(dim, 0, 1)
    before = torch.cat([torch.zeros_like(first), values], dim).logcumsumexp(dim).narrow(dim, 0, count)
    nothing = torch.full_like(first, -torch.inf)
    after = torch.cat([nothing, values.flip(dim)], dim).logcumsumexp(dim).narrow(dim, 0, count).flip(dim)
    return torch.logaddexp(before, after)
