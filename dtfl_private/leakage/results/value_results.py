"""From guessed labels or attributes and the true ones to results: the share guessed right, against trivial guesses."""

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from dtfl_private.leakage import image_metrics as scores
from dtfl_private.leakage.intervals import metric_interval
from dtfl_private.leakage.metrics import ACCURACY
from dtfl_private.leakage.results.compared_with_baselines import against_best_guess
from dtfl_private.leakage.results.result import Result
from dtfl_private.leakage.results.result_heading import Heading
from dtfl_private.leakage.significance import distinct
from dtfl_private.protocol.contracts import FloatArray


def right_guesses(guesses: Sequence[Tensor], truth: Tensor) -> FloatArray:
    """Return which guesses are right, 1 or 0 (S, N), in the S repetitions that differ."""
    return np.stack([scores.correct(guesses[place], truth) for place in distinct(guesses)])


def value_results(
    guesses: Sequence[Tensor],
    truth: Tensor,
    trivial: Mapping[str, Tensor],
    ceilings: Mapping[str, Tensor],
    heading: Heading,
) -> list[Result]:
    """Score guessed labels or attributes: the share that is right, compared with the best trivial guess.

    Args:
        guesses: (N,) of each repetition.
        truth: (N,).
        trivial: guesses (N,) that need no smashed data, by name.
        ceilings: guesses (N,) that take more knowledge than the adversary has, by name; each gives a result of its own.
        heading: of the results.
    """
    scored = right_guesses(guesses, truth)
    trivial_scores = {name: scores.correct(guess, truth) for name, guess in trivial.items()}
    found = metric_interval(ACCURACY, scored, heading.draws("accuracy"))
    results = [against_best_guess(ACCURACY, found, scored, trivial_scores, heading)]
    for name, guess in ceilings.items():
        ceiling = metric_interval(ACCURACY, scores.correct(guess, truth)[None], heading.draws(name))
        results.append(heading.result(f"accuracy-of-{name}", ceiling, n=scored.shape[1], seeds=1))
    return results
