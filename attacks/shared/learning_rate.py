"""How learning rates fall in trainings and searches of attacks."""

import math


def half_cosine(done: float, total: float) -> float:
    """Return the share of the first learning rate after ``done`` of ``total`` steps: from 1 to 0."""
    return 0.5 * (1 + math.cos(math.pi * done / total))
