"""A round's local steps in a few stretches of consecutive ones, which an attack tells apart."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Stretches:
    """Which of K stretches of a round each of its T steps belongs to.

    Attributes:
        of_step: (T,), ascending from 0 to K - 1.
    """

    of_step: Sequence[int]

    @classmethod
    def of(cls, steps: int, most: int) -> "Stretches":
        """Return as many stretches as there are steps, or the most, about equally long."""
        count = min(steps, most)
        return cls(of_step=[step * count // steps for step in range(steps)])

    @property
    def count(self) -> int:
        """K, number of stretches."""
        return self.of_step[-1] + 1

    def shares(self, batches: Sequence[Tensor], records: int) -> Tensor:
        """Return how much each record counts in each stretch (K, records): its share in the batches, added up.

        Args:
            batches: which records each step is on.
            records: number of them.
        """
        shares = torch.zeros(self.count, records)
        for stretch, batch in zip(self.of_step, batches, strict=True):
            shares[stretch] += torch.bincount(batch, minlength=records) / len(batch)
        return shares
