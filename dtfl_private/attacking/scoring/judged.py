"""Guesses as they were judged: results, and what a comparison of two attacks on the same victims needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dtfl_private.leakage.results.result import Result
from dtfl_private.protocol.contracts import FloatArray


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Scores record by record.

    Attributes:
        truth: what was to be guessed, record by record; equal for attacks that can be compared.
        records: numbers of the victims; likewise. Of membership those of the members, in the order of their scores.
        scores: by metric: scores (S, N) under S repetitions, whose mean is the metric's value; of the AUC those of
            members and those of non-members, whose means add up to it.
        trivial: what the best trivial guess scores by the accuracy (N,); None where that is another metric's.
    """

    truth: Tensor
    records: Tensor
    scores: Mapping[str, Sequence[FloatArray]]
    trivial: FloatArray | None = None

    def is_of_the_same_as(self, other: "Scored") -> bool:
        """Whether the same was to be guessed of the same victims."""
        return torch.equal(self.records, other.records) and torch.equal(self.truth, other.truth)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Results of the repetitions of an attack, and their scores."""

    results: Sequence[Result]
    scored: Scored
