"""How much of the way from a trivial guess to the truth an attack goes, record by record and client by client."""

from dataclasses import dataclass

import numpy as np

from dtfl_private.attacking.scoring.scoring import Verdict
from dtfl_private.protocol.contracts import FloatArray, IntArray

TRUTH = 1.0
"""SSIM and token accuracy of the truth itself, the AUC if all members are found, the accuracy of right guesses."""
LEAST_WAY = 0.05
"""From a guess to the truth: of a shorter way no share is taken, which would be of rounding."""


@dataclass(frozen=True, kw_only=True)
class JudgedRecords:
    """One attack's scores, record by record.

    Attributes:
        metric: of the scores.
        records: numbers of the records (N,).
        values: scores (N,), mean over repetitions.
        guesses: of the trivial guess (N,); None where that is a level of chance.
        chance: that level.
        guess: the trivial guess's name.
    """

    metric: str
    records: IntArray
    values: FloatArray
    guesses: FloatArray | None
    guess: str
    chance: float = 0.0

    @property
    def guessed(self) -> FloatArray:
        """What the trivial guess scores (N,)."""
        return np.full_like(self.values, self.chance) if self.guesses is None else self.guesses

    @property
    def recovered(self) -> FloatArray:
        """Of each record, the share of the way from the guess to the truth, within -1 to 1."""
        return _share(self.values, self.guessed)

    def recovered_of(self, own: IntArray) -> float:
        """Return the share of the way for some records, by their places, within -1 to 1.

        A guess of a value is right or wrong, and so is the trivial one: there the share is that of the records'
        accuracy, where of images and members it is the mean of each record's own.
        """
        if self.metric != "accuracy":
            return float(self.recovered[own].mean())
        return float(_share(*(all_of[own].mean(keepdims=True) for all_of in (self.values, self.guessed)))[0])


def _share(values: FloatArray, guesses: FloatArray) -> FloatArray:
    return np.asarray(np.clip((values - guesses) / np.maximum(TRUTH - guesses, LEAST_WAY), -1, 1))


def judged_records(verdict: Verdict) -> JudgedRecords:
    """Return the scores of an attack that guessed, record by record: SSIM, token accuracy, AUC or accuracy."""
    scored, rebuilt = verdict.scored, verdict.rebuilt
    assert scored is not None
    records = scored.records.numpy()
    if rebuilt is not None:
        return JudgedRecords(
            metric=rebuilt.METRIC,
            records=records,
            values=rebuilt.reached.mean(axis=0),
            guesses=rebuilt.guessed,
            guess=rebuilt.baseline_name,
        )
    if "auc" in scored.scores:
        # How often each member scores above non-members of all clients.
        members = scored.scores["auc"][0].mean(axis=0)
        return JudgedRecords(metric="auc", records=records, values=members, guesses=None, guess="chance", chance=0.5)
    return JudgedRecords(
        metric="accuracy",
        records=records,
        values=scored.scores["accuracy"][0].mean(axis=0),
        guesses=scored.trivial,
        guess="best-trivial",
    )
