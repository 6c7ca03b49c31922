"""Which trial is chosen, on made-up scores."""

import pytest

from dtfl_private.errors import RunError
from dtfl_private.experiments.tuning.choice import chosen_place
from dtfl_private.report.comparison.tuned_settings import TrialOutcome


def outcomes(*figures: tuple[float | None, float | None]) -> list[TrialOutcome]:
    return [TrialOutcome(settings={}, accuracy=accuracy, time_to_target_s=time_s) for accuracy, time_s in figures]


@pytest.mark.parametrize(
    ("figures", "by_accuracy", "by_time"),
    [
        ([(0.5, 9.0), (0.7, 12.0), (0.6, 8.0)], 1, 2),
        ([(0.5, None), (0.7, None), (0.6, 80.0)], 1, 2),  # who never arrives is behind who does
        ([(0.5, None), (0.6, None), (0.7, None)], 2, 2),
        ([(0.5, 8.0), (0.6, 8.0), (0.6, 8.0)], 1, 1),  # of equally good ones the first
        ([(None, None), (0.1, None), (0.1, None)], 1, 1),  # none that diverged
    ],
)
def test_the_best_trial_is_chosen(figures, by_accuracy, by_time):
    assert chosen_place(outcomes(*figures), "accuracy", "a") == by_accuracy
    assert chosen_place(outcomes(*figures), "time-to-target", "a") == by_time


def test_there_is_no_choice_where_all_trials_diverged():
    with pytest.raises(RunError, match="all trials of 'iid-dtfl' diverged: try lower learning rates"):
        chosen_place(outcomes((None, None), (None, None)), "accuracy", "iid-dtfl")
