import random

import numpy as np
import pytest
import torch

from dtfl_private.leakage.token_metrics import (
    exact,
    identifiability,
    longest_common_subsequence,
    real_tokens,
    rouge_l,
    token_accuracy,
)

PAD = 9
TRUTH = torch.tensor([[1, 2, 3, 4], [5, 6, PAD, PAD], [1, 2, 7, PAD]])
REAL = real_tokens(TRUTH, PAD)


def oracle(first: list[int], second: list[int]) -> int:
    """The recursion of the definition, without a table."""
    if not first or not second:
        return 0
    if first[-1] == second[-1]:
        return 1 + oracle(first[:-1], second[:-1])
    return max(oracle(first[:-1], second), oracle(first, second[:-1]))


def test_the_longest_common_subsequence_is_that_of_its_definition():
    chance = random.Random(0)
    pairs = [([chance.randrange(3) for _ in range(8)], [chance.randrange(3) for _ in range(6)]) for _ in range(60)]
    found = longest_common_subsequence(np.array([a for a, _ in pairs]), np.array([b for _, b in pairs]))
    assert found.tolist() == [oracle(*pair) for pair in pairs]


def test_padding_is_never_scored():
    guess = TRUTH.masked_fill(~REAL, 0)
    assert token_accuracy(guess, TRUTH, REAL).tolist() == [1, 1, 1]
    assert exact(guess, TRUTH, REAL).tolist() == [1, 1, 1]
    assert rouge_l(guess, TRUTH, REAL, PAD).tolist() == [1, 1, 1]
    # Nothing is gained by guessing the padding.
    assert token_accuracy(torch.full_like(TRUTH, PAD), TRUTH, REAL).tolist() == [0, 0, 0]
    assert rouge_l(torch.full_like(TRUTH, PAD), TRUTH, REAL, PAD).tolist() == [0, 0, 0]


def test_scores_by_hand():
    guess = torch.tensor([[2, 3, 4, 4], [5, 5, 0, 0], [7, 1, 2, 0]])
    assert token_accuracy(guess, TRUTH, REAL).tolist() == pytest.approx([1 / 4, 1 / 2, 0])
    assert exact(guess, TRUTH, REAL).tolist() == [0, 0, 0]
    assert rouge_l(guess, TRUTH, REAL, PAD).tolist() == pytest.approx([3 / 4, 1 / 2, 2 / 3])


def test_rouge_l_is_the_harmonic_mean_of_both_shares():
    guess = torch.tensor([[1, 4, PAD, PAD]])  # two tokens, both in the truth of four
    found = rouge_l(guess, TRUTH[:1], REAL[:1], PAD)
    precision, recall = 2 / 2, 2 / 4
    assert found.tolist() == pytest.approx([2 * precision * recall / (precision + recall)])


def test_a_text_is_told_among_the_victims_if_its_guess_agrees_with_it_most():
    truth = torch.tensor([[1, 2, 3], [1, 2, 4], [5, 6, 7]])
    everywhere = torch.ones_like(truth, dtype=torch.bool)
    guess = torch.tensor([[1, 2, 0], [0, 0, 4], [1, 2, 3]])
    # The first agrees with two texts alike, the third with another's.
    assert identifiability(guess, truth, everywhere).tolist() == [0.5, 1, 0]


def test_what_shows_of_its_length_tells_a_text_from_longer_ones_whatever_is_guessed():
    truth = torch.tensor([[1, PAD, PAD], [1, 2, 3], [1, 2, 4]])
    guess = torch.zeros_like(truth)
    assert identifiability(guess, truth, real_tokens(truth, PAD)).tolist() == [
        1,
        pytest.approx(1 / 3),
        pytest.approx(1 / 3),
    ]


def test_every_place_is_real_where_nothing_fills_up():
    assert bool(real_tokens(TRUTH, None).all())
