"""Means over runs with their 95 % intervals, and bounds where a run never reached the target."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean over the runs of a group, with its 95 % interval (Student's t).

    Attributes:
        mean: None if a run never reached the target: a mean over the others alone would flatter.
        ci_low: lower end of the interval; None without a mean or with a single run.
        ci_high: upper end.
        at_least: with runs that never reached the target, what the mean would at least be: they count with all they
            had spent when they ended.
    """

    mean: float | None
    ci_low: float | None = None
    ci_high: float | None = None
    at_least: float | None = None

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval."""
        return None if self.ci_high is None or self.mean is None else self.ci_high - self.mean


def mean_of(values: Sequence[float]) -> Mean:
    """Return the mean of at least one value; the interval needs two."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Mean(mean=mean)
    from scipy.special import stdtrit  # scipy takes a while to load

    half = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2) * np.std(values, ddof=1) / math.sqrt(len(values)))
    return Mean(mean=mean, ci_low=mean - half, ci_high=mean + half)


def mean_to_target(expenses: Sequence[float | None], totals: Sequence[float]) -> Mean:
    """Return the mean expense to the target, or its lower bound when a run did not get there.

    Args:
        expenses: of each run to the target, None if it never reached it.
        totals: of each whole run.
    """
    reached = [expense for expense in expenses if expense is not None]
    if len(reached) == len(expenses):
        return mean_of(reached)
    bounds = [total if expense is None else expense for expense, total in zip(expenses, totals, strict=True)]
    return Mean(mean=None, at_least=float(np.mean(bounds)))
