"""Leakage against the attacker's data: one point of the curve in audit.json."""

from dtfl_private.leakage.results.result import Positive, Result
from dtfl_private.verdicts.strict import Strict

SIZES = (100, 1_000, 10_000)
"""Images to train on that a curve has points at, as far as the audit has more; then as many as it has."""


class AuxiliaryPoint(Strict):
    """What one attack reached with a number of auxiliary images.

    Attributes:
        images: to train on; a fifth as many more to tune by.
        result: of one repetition; its ``baseline`` is the trivial guess with the same images.
    """

    images: Positive
    result: Result
