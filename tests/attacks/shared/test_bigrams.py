"""Kneser-Ney: by hand, sums to one; the likeliest path against all paths."""

import itertools
import math

import pytest
import torch

from dtfl_private.attacks.shared.bigrams import ADDED, DISCOUNT, Bigrams, likeliest_path

TOKENS = 4


@pytest.fixture(scope="module")
def bigrams() -> Bigrams:
    texts = torch.tensor([[0, 1, 2], [0, 1, 1], [3, 0, 9]])
    return Bigrams.of(texts, texts != 9, TOKENS, "cpu")


def test_a_pair_that_was_seen_has_its_share_and_a_part_of_what_was_taken_off(bigrams):
    # After 0 came 1 twice, and nothing else; five different pairs end in: 0 (twice), 1 (twice), 2, 3.
    pairs = {(4, 0): 2, (0, 1): 2, (1, 2): 1, (1, 1): 1, (4, 3): 1, (3, 0): 1}
    ends = [(sum(w == token for _, w in pairs) + ADDED) / (len(pairs) + ADDED * TOKENS) for token in range(TOKENS)]
    assert float(bigrams.log_shares(torch.tensor(0), torch.tensor(1))) == pytest.approx(
        math.log((2 - DISCOUNT) / 2 + DISCOUNT / 2 * ends[1])
    )
    assert float(bigrams.log_shares(torch.tensor(1), torch.tensor(3))) == pytest.approx(math.log(DISCOUNT * ends[3]))


@pytest.mark.parametrize("first", range(TOKENS + 1))
def test_shares_after_each_token_and_at_the_beginning_sum_to_one(bigrams, first):
    shares = bigrams.log_shares(torch.full((TOKENS,), first), torch.arange(TOKENS)).exp()
    assert float(shares.sum()) == pytest.approx(1)


def test_a_text_has_the_product_of_its_pairs_and_padding_counts_for_nothing(bigrams):
    texts = torch.tensor([[1, 2, 9], [1, 2, 0]])
    begin, pair = (float(bigrams.log_shares(torch.tensor(a), torch.tensor(b))) for a, b in ((TOKENS, 1), (1, 2)))
    found = bigrams.of_texts(texts, texts != 9)
    assert float(found[0]) == pytest.approx(begin + pair)
    assert found[1] < found[0]


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_the_likeliest_path_is_the_best_of_all_paths(bigrams, weight):
    chance = torch.Generator().manual_seed(0)
    candidates = torch.stack([torch.randperm(TOKENS, generator=chance)[:3] for _ in range(8)]).view(2, 4, 3)
    scores = torch.randn(2, 4, 3, generator=chance)
    real = torch.tensor([[True] * 4, [True] * 3 + [False]])
    found = likeliest_path(bigrams, candidates, scores, real, weight)
    for text in range(2):
        length = int(real[text].sum())

        def total(path, text=text, length=length):
            tokens = candidates[text, range(length), path]
            own = scores[text, range(length), path].double().sum()
            return float(own + weight * bigrams.of_texts(tokens[None], real[text : text + 1, :length])[0])

        best = max((list(path) for path in itertools.product(range(3), repeat=length)), key=total)
        assert found[text, :length].tolist() == candidates[text, range(length), best].tolist()
