"""Variations of an adversary's own texts: parts of them replaced by random tokens.

Few texts hold few kinds of tokens. What the client half makes of a token that is in none of them can be learnt all the
same: by putting it into them. Half of the texts stay as they are, so that what is likely in a text is learnt, too.
"""

import torch
from torch import Tensor

from dtfl_private.protocol.vocabulary import Vocabulary

# The share of texts that are varied, and of drawn tokens that are any; the others are as frequent as in the texts.
VARIED = 0.5
ANY = 0.5


def token_shares(texts: Tensor, vocabulary: Vocabulary) -> Tensor:
    """Return how frequent each token is (V,), float64, in texts (N, T); padding does not count."""
    counts = torch.bincount(texts.flatten(), minlength=vocabulary.numbers)[: vocabulary.size].double()
    if vocabulary.padding is not None and vocabulary.padding < vocabulary.size:
        counts[vocabulary.padding] = 0
    return counts / counts.sum().clamp(min=1)


def varied_texts(texts: Tensor, shares: Tensor, vocabulary: Vocabulary, chance: torch.Generator) -> Tensor:
    """Return texts (N, T), of half of which a random share of the tokens is replaced; padding stays.

    Args:
        texts: (N, T) int64, on the CPU.
        shares: of tokens (V,), as `token_shares` returns them.
        vocabulary: what the numbers are.
        chance: on the CPU.
    """
    allowed = torch.ones_like(shares)
    if vocabulary.padding is not None and vocabulary.padding < vocabulary.size:
        allowed[vocabulary.padding] = 0
    weights = (1 - ANY) * shares + ANY * allowed / allowed.sum()
    drawn = torch.multinomial(weights, texts.numel(), replacement=True, generator=chance).view_as(texts)
    rates = torch.rand(len(texts), 1, generator=chance) * (torch.rand(len(texts), 1, generator=chance) < VARIED)
    replaced = torch.rand(texts.shape, generator=chance) < rates
    if vocabulary.padding is not None:
        replaced &= texts != vocabulary.padding
    return torch.where(replaced, drawn, texts)
