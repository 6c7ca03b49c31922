"""What trials reached, and which of them is chosen."""

import math
from collections.abc import Sequence

from dtfl_private.errors import RunError
from dtfl_private.experiments.tuning.plan import Metric
from dtfl_private.report.comparison.tuned_settings import TrialOutcome


def chosen_place(outcomes: Sequence[TrialOutcome], metric: Metric, name: str) -> int:
    """Return which trial is chosen: the best mean over the seeds, the first of equally good ones.

    By ``accuracy``: the highest. By ``time-to-target``: the shortest; of equally short ones, and where no trial reached
    the target with every seed, the highest accuracy after the last round. A trial that diverged is never chosen.

    Args:
        outcomes: of the trials, in their order.
        metric: that they are judged by.
        name: of the combination, for the error.

    Raises:
        RunError: all trials diverged.
    """
    if all(outcome.diverged for outcome in outcomes):
        raise RunError(f"all trials of '{name}' diverged: try lower learning rates in another --out folder")
    return min(range(len(outcomes)), key=lambda place: _rank(outcomes[place], metric))


def _rank(outcome: TrialOutcome, metric: Metric) -> tuple[float, ...]:
    """Return what is lowest for the best trial."""
    if outcome.accuracy is None:
        return (1, 0, 0)
    time_s = math.inf if outcome.time_to_target_s is None else outcome.time_to_target_s
    return (0, time_s if metric == "time-to-target" else 0, -outcome.accuracy)
