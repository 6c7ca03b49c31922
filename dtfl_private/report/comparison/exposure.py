"""What a run gave away by its audit, goal by goal, so that methods can be set against each other.

Of the tiers in which clients really were, the most exposed one counts for each goal: that is where somebody's records
were.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dtfl_private.leakage.metrics import AUC, IDENTIFIABILITY, SSIM, Metric
from dtfl_private.leakage.results.result import Result
from dtfl_private.verdicts.findings import Level

GOALS: tuple[Metric, ...] = (SSIM, IDENTIFIABILITY, AUC)
"""What is compared: images rebuilt, told apart, and membership."""

EQUAL_WITHIN = 0.02
"""Test accuracies that differ by more are not equal: then leakage is not compared at equal accuracy."""


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """What one audited run gave away.

    Attributes:
        accuracy: test accuracy of the model that was attacked.
        goals: by metric, the strongest result at the most exposed of the tiers in use.
        labels: of the strongest attack on labels; None if none was mounted.
        labels_in_clear: whether true labels are sent.
        sent: kinds of data that left the clients, or came to them beyond weights.
        level: the worst verdict on a tier in use; None if none was judged.
        converged: whether the audit's attacks have; None if that is not known.
        terms: of the audit, by what they are, for what must be equal between audits.
    """

    accuracy: float
    goals: Mapping[str, Result]
    labels: Result | None
    labels_in_clear: bool
    sent: Sequence[str]
    level: Level | None
    converged: bool | None
    terms: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Reached:
    """What attacks reached by one metric over the audited runs of a group.

    Attributes:
        metric: by which.
        value: mean over the runs.
        low, high: of an interval that contains each run's own.
        guess: mean of the trivial guess; None if it is not known of each.
        tiers: where it was reached, ascending.
        attacks: by whom.
    """

    metric: str
    value: float
    low: float
    high: float
    guess: float | None
    tiers: Sequence[int]
    attacks: Sequence[str]


def reached(exposures: Sequence[Exposure], metric: str) -> Reached | None:
    """Return what attacks reached by a metric; None if that is not known of each run."""
    return pooled([exposure.goals.get(metric) for exposure in exposures])


def labels_reached(exposures: Sequence[Exposure]) -> Reached | None:
    """Return what attacks on labels reached; None if that is not known of each run."""
    return pooled([exposure.labels for exposure in exposures])


def pooled(results: Sequence[Result | None]) -> Reached | None:
    """Return one result of each run as one; None if a run has none, or there are no runs."""
    known = [result for result in results if result is not None]
    if not known or len(known) < len(results):
        return None
    guesses = [result.baseline for result in known if result.baseline is not None]
    return Reached(
        metric=known[0].metric,
        value=sum(result.value for result in known) / len(known),
        low=min(result.ci_low for result in known),
        high=max(result.ci_high for result in known),
        guess=sum(guesses) / len(guesses) if len(guesses) == len(known) else None,
        tiers=sorted({result.tier for result in known}),
        attacks=sorted({result.source for result in known}),
    )
