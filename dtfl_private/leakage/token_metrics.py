"""Scores of token sequences that were read back against the true ones: one number per victim, float64.

Guesses and truth are sequences (N, T), int64. A place that is filled up in the truth is never scored: how long a text
is shows behind the first stage, and is nothing that an attack found out. Each victim has a place that is not filled up.
Averages and intervals: `dtfl_private.leakage.intervals`.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from dtfl_private.protocol.contracts import FloatArray, IntArray

# Victims compared with all others at a time: the places at which each of them agrees with each could fill the memory.
CHUNK_BYTES = 2**26

# What stands in the place of padding: no token, and not the same in guess and truth, so that it never agrees.
NOT_GUESSED, NOT_REAL = -1, -2


def real_tokens(truth: Tensor, padding: int | None) -> Tensor:
    """Return which places (N, T) of true sequences are not filled up: all of them where nothing is."""
    return torch.ones_like(truth, dtype=torch.bool) if padding is None else truth != padding


def token_accuracy(guess: Tensor, truth: Tensor, real: Tensor) -> FloatArray:
    """Return for each victim the share of its real places (N, T) at which the token was guessed (N,)."""
    right = (guess == truth) & real
    return _numpy(right.sum(dim=1) / real.sum(dim=1))


def exact(guess: Tensor, truth: Tensor, real: Tensor) -> FloatArray:
    """Return for each victim 1 if every real place (N, T) was guessed, else 0 (N,)."""
    return _numpy(((guess == truth) | ~real).all(dim=1))


def rouge_l(guess: Tensor, truth: Tensor, real: Tensor, padding: int | None) -> FloatArray:
    """Return ROUGE-L of each victim (N,): F1 over tokens, 1 where all come in their order, 0 if none does.

    Lin 2004 (ROUGE: A Package for Automatic Evaluation of Summaries, section 3), with beta 1, of one sentence: the
    longest common subsequence of guess and truth over the length of each. A guess of padding is no token.
    """
    guessed = real if padding is None else real & (guess != padding)
    common = longest_common_subsequence(
        guess.masked_fill(~guessed, NOT_GUESSED).cpu().numpy(), truth.masked_fill(~real, NOT_REAL).cpu().numpy()
    )
    return np.asarray(2 * common / _numpy(guessed.sum(dim=1) + real.sum(dim=1)))


def longest_common_subsequence(first_NS: IntArray, second_NT: IntArray) -> FloatArray:
    """Return the length of the longest common subsequence of each pair of rows (N,).

    By rows of the usual table, in which a value is the greatest of those left, above, and, where tokens agree, above
    left and one more: a running maximum along the row.
    """
    count, length = second_NT.shape
    longest = np.zeros((count, length + 1))
    for tokens_N in first_NS.T:
        agree = longest[:, :-1] + (second_NT == tokens_N[:, None])
        longest[:, 1:] = np.maximum.accumulate(np.maximum(longest[:, 1:], agree), axis=1)
    return np.asarray(longest[:, -1])


def identifiability(guess: Tensor, truth: Tensor, real: Tensor) -> FloatArray:
    """Return for each victim 1 if its guess agrees with its own text at more places than with any other victim's (N,).

    Of k texts at which it agrees with as many, its own among them, 1/k. Guesses are filled up where their own text is,
    as that shows; a place that is filled up in both agrees.
    """
    guess = torch.where(real, guess, truth)
    own = (guess == truth).sum(dim=1)
    size = max(1, CHUNK_BYTES // max(1, truth.numel()))
    agreeing = [(part[:, None] == truth[None]).sum(dim=2) for part in torch.split(guess, size)]
    scores = torch.cat(agreeing)
    nearest, ties = scores.max(dim=1).values, (scores == own[:, None]).sum(dim=1)
    return _numpy((own == nearest) / ties)


def _numpy(values: Tensor) -> FloatArray:
    return np.asarray(values.double().cpu().numpy())


Score = Callable[[Tensor], FloatArray]
"""From guesses (N, T) to one number per victim (N,)."""
