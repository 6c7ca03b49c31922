"""Who owns which record, against counting all ways to give records to candidates."""

import itertools
import math

import pytest
import torch

from dtfl_private.attacks.shared.ownership import log_odds_of_owning


def counted(ratios):
    """Return the log odds by counting: every record is one candidate's or nobody's, and no candidate has two."""
    pairs = ratios.double() + math.log(2 / len(ratios))
    with_each, without_each = torch.zeros(2, len(ratios), dtype=torch.float64)
    for owners in itertools.product([None, *range(len(ratios))], repeat=ratios.shape[1]):
        real = [owner for owner in owners if owner is not None]
        if len(set(real)) < len(real):
            continue
        weight = math.exp(sum(float(pairs[owner, place]) for place, owner in enumerate(owners) if owner is not None))
        for candidate in range(len(ratios)):
            (with_each if candidate in real else without_each)[candidate] += weight
    return (with_each / without_each).log()


def random(*shape, seed, scale=2.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(5, 1), (1, 5), (1, 1)])
def test_of_one_record_or_one_candidate_it_is_exact(shape):
    ratios = random(*shape, seed=0)
    torch.testing.assert_close(log_odds_of_owning(ratios), counted(ratios), rtol=1e-6, atol=1e-6)


def test_where_no_two_candidates_compete_for_the_same_two_records_it_is_exact():
    ratios = random(4, 4, seed=1)
    chain = torch.full((4, 4), -torch.inf)
    for place in range(4):
        chain[place, place] = ratios[place, place]
        if place < 3:
            chain[place, place + 1] = ratios[place, place + 1]
    torch.testing.assert_close(log_odds_of_owning(chain), counted(chain), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_elsewhere_it_is_near_and_nearer_than_taking_each_candidate_by_itself(seed):
    ratios = random(5, 4, seed=seed)
    right = counted(ratios)
    alone = (ratios.double() + math.log(2 / 5)).logsumexp(dim=1)
    error = (log_odds_of_owning(ratios) - right).abs().mean()
    assert error < 0.5
    assert error < (alone - right).abs().mean()


def test_who_resembles_another_s_record_gets_little_for_it():
    ratios = torch.tensor([[12.0, -9.0], [6.0, -9.0], [-9.0, 5.0]])
    owner, alike, other = log_odds_of_owning(ratios)
    assert owner > 5
    assert other > 4
    assert alike < 1
    assert ratios[1].logsumexp(dim=0) > other  # by itself it would come before


def test_great_ratios_and_impossible_ones_are_finite_where_anything_is_possible():
    ratios = torch.tensor([[900.0, 880.0, -torch.inf], [880.0, -900.0, -torch.inf], [-torch.inf, -800.0, 3.0]])
    assert log_odds_of_owning(ratios).isfinite().all()
