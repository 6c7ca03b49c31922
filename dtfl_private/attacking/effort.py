"""How much work attacks do: one word for the steps of all their trainings and searches."""

from collections.abc import Mapping
from typing import Literal

Effort = Literal["quick", "normal", "exhaustive"]

EFFORTS: Mapping[Effort, float] = {"quick": 0.1, "normal": 1.0, "exhaustive": 4.0}
"""Steps relative to the normal ones."""
EFFORT_HELP = "steps of trainings and searches: quick has a tenth of the normal ones, exhaustive four times as many"
