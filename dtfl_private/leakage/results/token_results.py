"""From token sequences that were read back and the true ones to results, next to trivial guesses.

A guess comes once per repetition (seed) of the attack; equal guesses count once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from dtfl_private.leakage import token_metrics as scores
from dtfl_private.leakage.intervals import metric_interval
from dtfl_private.leakage.metrics import METRICS
from dtfl_private.leakage.results.compared_with_baselines import against_best_guess
from dtfl_private.leakage.results.result import Result
from dtfl_private.leakage.results.result_heading import Heading
from dtfl_private.leakage.significance import distinct
from dtfl_private.leakage.token_baselines import ATTAINABLE, TOKEN_BASELINES, KnownTexts, one_token
from dtfl_private.protocol.contracts import FloatArray


@dataclass(frozen=True, kw_only=True)
class TokenResults:
    """Results, and ``scores`` victim by victim: metric name to (S, N)."""

    results: Sequence[Result]
    scores: Mapping[str, FloatArray]


def score_tokens(guess: Tensor, truth: Tensor, padding: int | None) -> dict[str, FloatArray]:
    """Return every metric of one repetition's sequences, (N,) each.

    Args:
        guess: (N, T).
        truth: (N, T); each sequence has a place that is not filled up.
        padding: the number that fills up; None if none does.
    """
    real = scores.real_tokens(truth, padding)
    return {
        "token-accuracy": scores.token_accuracy(guess, truth, real),
        "rouge-l": scores.rouge_l(guess, truth, real, padding),
        "exact-sequences": scores.exact(guess, truth, real),
        "identifiability": scores.identifiability(guess, truth, real),
    }


def token_results(
    guesses: Sequence[Tensor], known: KnownTexts | None, truth: Tensor, padding: int | None, heading: Heading
) -> TokenResults:
    """Score sequences that were read back, and compare them with the best of the trivial guesses.

    Args:
        guesses: sequences (N, T) of each repetition.
        known: what trivial guesses are made from; None without auxiliary data: then one token is guessed everywhere.
        truth: the victims' sequences (N, T).
        padding: the number that fills up; None if none does.
        heading: of the results.
    """
    each = [score_tokens(guess, truth, padding) for guess in guesses]
    judged = {name: np.stack([seed[name] for seed in each]) for name in each[0]}
    trivial = {name: score_tokens(guess, truth, padding) for name, guess in trivial_texts(known, truth).items()}
    results, different = [], distinct(guesses)
    for name, all_SN in judged.items():
        found = metric_interval(METRICS[name], all_SN[different], heading.draws(name))
        of_guesses = {guess: trivial[guess][name] for guess in trivial}
        results.append(against_best_guess(METRICS[name], found, all_SN[different], of_guesses, heading))
    return TokenResults(results=results, scores=judged)


def trivial_texts(known: KnownTexts | None, truth: Tensor) -> dict[str, Tensor]:
    """Return the guesses (N, T) that need no smashed data, by name: without auxiliary data one token everywhere."""
    if known is None:
        return {"one-token": one_token(truth)}
    return {name: TOKEN_BASELINES[name](known) for name in ATTAINABLE}


def token_baseline_results(name: str, known: KnownTexts, heading: Heading) -> list[Result]:
    """Return the results of a trivial guess itself, for tables and plots."""
    found = []
    scored = score_tokens(TOKEN_BASELINES[name](known), known.truth, known.vocabulary.padding)
    for metric, scores_N in scored.items():
        interval = metric_interval(METRICS[metric], scores_N[None], heading.draws(metric))
        found.append(heading.result(metric, interval, n=len(scores_N), seeds=1))
    return found
