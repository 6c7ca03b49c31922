"""Counted labels of three clients of known labels."""

import numpy as np
import pytest
import torch

from dtfl_private.attacking.scoring.count_scoring import _matched, _permuted

TRUE = torch.tensor([[9, 1, 4, 6], [2, 8, 5, 5], [7, 7, 1, 5]])


def test_what_is_matched_is_counted_record_by_record():
    found = torch.tensor([[8, 2, 4, 6], [2, 8, 5, 5], [7.5, 7, 0.5, 5]])
    matched = _matched(found, TRUE)
    assert len(matched) == TRUE.sum()
    assert matched.sum() == pytest.approx(TRUE.sum() - 1 - 0.5)


def test_exact_counts_are_no_chance_and_even_ones_are():
    """Of three clients with four classes each 24^3 orders are alike likely, and few agree as well as the true one."""
    beyond = TRUE - TRUE.double().mean(dim=1, keepdim=True)
    assert _permuted(beyond[None], beyond, np.random.default_rng(0)) < 1e-3
    assert _permuted(torch.zeros(1, 3, 4), beyond, np.random.default_rng(0)) == 1
    assert _permuted(-beyond[None], beyond, np.random.default_rng(0)) > 0.9
