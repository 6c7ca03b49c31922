"""What each client may expose over a run.

A client's exposure in a round is (image releases / its images) * the leakage of its tier: how often each of its images
was, on average, rebuilt as well as the original. It adds up over rounds.
"""

from dataclasses import dataclass
from typing import Literal

from dtfl_private.protocol.contracts import FloatArray

Spending = Literal["paced", "greedy"]
"""How a budget is spent: so that it lasts for all rounds if it can, or as fast as the scheduler asks for it."""

SLACK = 1e-9
"""A budget for so many rounds is not to fail by a rounding error of their sum; as a share of the budget."""


@dataclass(frozen=True, kw_only=True)
class ExposureBudget:
    """What each client may expose over a run.

    Attributes:
        most: exposure of a client over all rounds.
        leakage_M: of each tier of the table, 0 (as a trivial guess) to 1 (as the original).
        rounds: of the run.
        spending: how it is spent over the rounds.
    """

    most: float
    leakage_M: FloatArray
    rounds: int
    spending: Spending = "paced"

    @property
    def limit(self) -> float:
        """The budget with what rounding may take."""
        return self.most * (1 + SLACK)
