"""Trivial guesses of token sequences, which need no smashed data: an attack no better than these has shown no leak.

Sequences are (N, T), int64; labels (N,) are class numbers. Auxiliary sequences are those of the adversary.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dtfl_private.leakage.token_metrics import CHUNK_BYTES, real_tokens
from dtfl_private.protocol.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class KnownTexts:
    """What trivial guesses are made from: auxiliary sequences and labels, and the victims' labels and sequences.

    ``truth`` is for the oracle alone.
    """

    sequences: Tensor
    labels: Tensor
    victim_labels: Tensor
    truth: Tensor
    vocabulary: Vocabulary


def unigram(known: KnownTexts) -> Tensor:
    """Return the most frequent token of the auxiliary sequences, at every place: the best guess of a single token."""
    return torch.full_like(known.truth, _most_frequent(known.sequences, known.vocabulary, fallback=0))


def by_place_and_class(known: KnownTexts) -> Tensor:
    """Return the most frequent token at each place of the auxiliary sequences of a victim's class.

    A server that is sent labels knows the class. For a class without auxiliary sequences it is the most frequent at the
    place in all; where a place is filled up in all of these, the most frequent of all places.
    """
    anywhere = _most_frequent(known.sequences, known.vocabulary, fallback=0)
    everybody = _by_place(known.sequences, known.vocabulary, anywhere)
    guess = everybody.repeat(len(known.victim_labels), 1)
    for label in torch.unique(known.victim_labels).tolist():
        of_class = known.sequences[known.labels == label]
        if len(of_class):
            guess[known.victim_labels == label] = _by_place(of_class, known.vocabulary, everybody)
    return guess


def n_gram(known: KnownTexts) -> Tensor:
    """Return a greedy chain of bigrams: the most frequent first token, then what follows each token most often.

    After a token that nothing follows comes the most frequent one. Of equals it is the lowest number.
    """
    real = real_tokens(known.sequences, known.vocabulary.padding)
    there = real[:, :-1] & real[:, 1:]
    before_after = torch.stack([known.sequences[:, :-1][there], known.sequences[:, 1:][there]])
    pairs, counts = torch.unique(before_after, dim=1, return_counts=True)
    follows: dict[int, tuple[int, int]] = {}
    for before, after, often in zip(*pairs.tolist(), counts.tolist(), strict=True):
        if often > follows.get(before, (0, 0))[0]:
            follows[before] = (often, after)
    anywhere = _most_frequent(known.sequences, known.vocabulary, fallback=0)
    chain = [_most_frequent(known.sequences[:, :1], known.vocabulary, fallback=anywhere)]
    for _ in range(known.truth.shape[1] - 1):
        chain.append(follows.get(chain[-1], (0, anywhere))[1])
    return torch.tensor(chain).repeat(len(known.victim_labels), 1)


def nearest_text(known: KnownTexts) -> Tensor:
    """Return for each victim the auxiliary sequence that has its token at most places.

    An oracle: it takes the true sequence to find it. It shows what the best choice among known texts would score.
    """
    real = real_tokens(known.truth, known.vocabulary.padding)
    size = max(1, CHUNK_BYTES // max(1, known.sequences.numel()))
    parts = zip(torch.split(known.truth, size), torch.split(real, size), strict=True)
    nearest = [((part[:, None] == known.sequences) & there[:, None]).sum(dim=2).argmax(dim=1) for part, there in parts]
    return known.sequences[torch.cat(nearest)]


def one_token(truth: Tensor) -> Tensor:
    """Return the first token at every place: the guess of those who know no texts at all."""
    return torch.zeros_like(truth)


def _by_place(sequences: Tensor, vocabulary: Vocabulary, fallback: Tensor | int) -> Tensor:
    """Return the most frequent token at each place (T,); a fallback, (T,) or one for all, where none is real."""
    found = torch.as_tensor(fallback).expand(sequences.shape[1]).clone()
    for place, column in enumerate(sequences.T):
        found[place] = _most_frequent(column, vocabulary, fallback=int(found[place]))
    return found


def _most_frequent(tokens: Tensor, vocabulary: Vocabulary, *, fallback: int) -> int:
    """Return the most frequent token, padding apart; of equals the lowest, and a fallback if there is none."""
    counts = torch.bincount(tokens.flatten(), minlength=1)
    if vocabulary.padding is not None:
        counts[vocabulary.padding : vocabulary.padding + 1] = 0
    return int(counts.argmax()) if counts.any() else fallback


TOKEN_BASELINES: Mapping[str, Callable[[KnownTexts], Tensor]] = {
    "unigram": unigram,
    "place-and-class": by_place_and_class,
    "n-gram": n_gram,
    "nearest-text": nearest_text,
}
"""Each returns sequences (N, T) for all victims, in the victims' order."""

ATTAINABLE = ("unigram", "place-and-class", "n-gram")
"""Trivial guesses that an adversary can make; the nearest auxiliary text can only be found with the truth."""
