"""Early stopping: a training ends when a figure no longer improves."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from dtfl_private.errors import InputError, RunError
from dtfl_private.report.callbacks.figures import figures_of
from dtfl_private.report.words.numbers import number_of
from dtfl_private.runtime.callback import Callback, StopTraining
from dtfl_private.training.round_record import Record

JUDGED_BY = ("accuracy", "loss")
"""How the names of figures end by which a training can be stopped."""


class EarlyStopping(Callback):
    """Ends a training after ``patience`` rounds in a row in which a figure has not improved.

    It judges a resumed training by its earlier rounds too. A network chosen by its accuracy on test images looks better
    on them than it is: train with ``validation`` and ``judged_on="validation"`` where the figure is to be reported.

    Args:
        metric: a figure of each round, an accuracy (higher is better) or a loss (lower is better).
        patience: rounds.
        min_delta: by more than this a figure must be better than the best one before.

    Raises:
        InputError: a figure that is neither accuracy nor loss, or a number that makes no sense.
    """

    def __init__(self, metric: str = "test_loss", *, patience: int = 5, min_delta: float = 0.0) -> None:
        if not metric.endswith(JUDGED_BY):
            raise InputError(f"early stopping by '{metric}': expected an accuracy or a loss, as test_loss")
        if patience < 1:
            raise InputError(f"early stopping after {patience} rounds: expected a patience of at least 1")
        if not 0 <= min_delta < math.inf:
            raise InputError(f"early stopping with min_delta {min_delta}: expected a number that is not negative")
        self._metric, self._patience, self._min_delta = metric, patience, min_delta
        self._sign = 1.0 if metric.endswith("accuracy") else -1.0
        self._best, self._best_round = -math.inf, 0

    def run_started(
        self, folder: Path, rounds: int, records: Sequence[Record], describe: Callable[[], Sequence[str]]
    ) -> None:
        """Begin with the rounds that were finished before."""
        self._best, self._best_round = -math.inf, 0
        for record in records:
            self.round_finished(record)

    def round_finished(self, record: Record) -> None:
        """Compare the round with the best one.

        Raises:
            StopTraining: too many rounds have brought nothing.
        """
        if self._metric not in record:
            known = ", ".join(key for key in record if key.endswith(JUDGED_BY))
            raise RunError(f"early stopping by '{self._metric}': this run has no such figure, but {known}")
        figure = figures_of(record).get(self._metric)
        if figure is None:  # not yet: of a round in which nothing of its kind was computed
            return
        value = self._sign * figure
        if value > self._best + self._min_delta:
            self._best, self._best_round = value, record["round"]
        elif record["round"] - self._best_round >= self._patience:
            best = f"best {self._sign * self._best:.4g} in round {self._best_round}"
            raise StopTraining(f"{self._metric} has not improved for {number_of(self._patience, 'round')} ({best})")
