"""Variations of texts: half stay, padding stays, any token can come."""

import torch

from dtfl_private.attacks.shared.varied_texts import token_shares, varied_texts
from dtfl_private.protocol.vocabulary import Vocabulary

VOCABULARY = Vocabulary(size=6, padding=2)


def test_shares_are_those_of_real_places():
    shares = token_shares(torch.tensor([[0, 0, 1, 2], [0, 2, 2, 2]]), VOCABULARY)
    assert shares.tolist() == [0.75, 0.25, 0, 0, 0, 0]


def test_about_half_of_the_texts_stay_and_in_others_any_token_but_the_padding_can_come():
    texts = torch.zeros(2000, 20, dtype=torch.int64)
    texts[:, 15:] = 2
    varied = varied_texts(texts, token_shares(texts, VOCABULARY), VOCABULARY, torch.Generator().manual_seed(0))
    assert torch.equal(varied == 2, texts == 2)
    assert set(varied.flatten().tolist()) == set(range(6))
    # Drawn is 0, the texts' own, or in half of the cases one of five, of which 0 is one: 2 of 5 draws are others. So a
    # text with the rate u stays with probability (1 - 2u/5)^15, on average over u 0.156: 1,156 of 2,000 stay. Five
    # deviations are 111 of them, and here 0.015: one false alarm in 1.7 million seeds.
    assert abs(int((varied == texts).all(dim=1).sum()) - 1156) < 111
    assert abs(float((varied != texts)[:, :15].double().mean()) - 0.5 * 0.5 * 2 / 5) < 0.015
