from collections import Counter

import pytest
import torch

from dtfl_private.leakage.token_baselines import (
    KnownTexts,
    by_place_and_class,
    n_gram,
    nearest_text,
    unigram,
)
from dtfl_private.protocol.vocabulary import Vocabulary

PAD = 5
SEQUENCES = torch.tensor([[1, 2, 3, PAD], [1, 2, 4, PAD], [0, 2, 3, 3], [4, 0, 3, PAD], [4, 0, PAD, PAD]])
LABELS = torch.tensor([0, 0, 0, 1, 1])


def known(victim_labels=(0, 1, 2), truth=None) -> KnownTexts:
    return KnownTexts(
        sequences=SEQUENCES,
        labels=LABELS,
        victim_labels=torch.tensor(victim_labels),
        truth=torch.zeros(len(victim_labels), 4, dtype=torch.int64) if truth is None else truth,
        vocabulary=Vocabulary(size=5, padding=PAD),
    )


def test_the_most_frequent_token_is_never_the_padding():
    counted = Counter(token for row in SEQUENCES.tolist() for token in row)
    assert counted.most_common(1)[0][0] == PAD
    assert unigram(known()).tolist() == [[3] * 4] * 3


def test_the_most_frequent_token_at_each_place_of_the_class():
    # Of class 2 there is no text, and at the last place of class 1 all are filled up.
    assert by_place_and_class(known()).tolist() == [[1, 2, 3, 3], [4, 0, 3, 3], [1, 2, 3, 3]]


def test_the_chain_of_bigrams_goes_on_with_what_follows_most_often():
    # First most often: 1 (twice, as 4, which is higher). After 1: 2; after 2: 3; after 3: 3.
    assert n_gram(known()).tolist() == [[1, 2, 3, 3]] * 3


def test_a_chain_that_nothing_follows_goes_on_with_the_most_frequent_token():
    alone = KnownTexts(
        sequences=torch.tensor([[1, PAD, PAD], [1, PAD, PAD], [2, 3, 3]]),
        labels=torch.zeros(3, dtype=torch.int64),
        victim_labels=torch.zeros(1, dtype=torch.int64),
        truth=torch.zeros(1, 3, dtype=torch.int64),
        vocabulary=Vocabulary(size=5, padding=PAD),
    )
    assert n_gram(alone).tolist() == [[1, 1, 1]]


@pytest.mark.parametrize("row", range(len(SEQUENCES)))
def test_the_nearest_text_to_one_that_is_known_has_all_its_tokens(row):
    truth = SEQUENCES[row : row + 1]
    real = truth != PAD
    assert nearest_text(known((0,), truth))[real].tolist() == truth[real].tolist()
