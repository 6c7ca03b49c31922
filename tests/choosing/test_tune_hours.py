"""How many trials fit into a time, by what the untouched configuration took."""

import pytest

from dtfl_private.choosing.request import make_request
from dtfl_private.choosing.trial import Measured
from dtfl_private.choosing.tuning import _task, _took_s, _trials_within
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig

CONFIG = TrainConfig(dataset="digits:size=8", clients=2, rounds=6, device="cpu")


def task_of(hours: float):
    return _task(make_request(CONFIG, None, limits=["ssim<=0.4"], hours=hours), 2)


def began(wall_s: float) -> Measured:
    return Measured(trial=0, rung=0, point={}, outcome="done", accuracy=0.5, wall_s=wall_s)


@pytest.mark.parametrize("wall_s", [0.5, 20.0, 60.0])
def test_as_many_trials_as_fit_and_not_one_more(wall_s):
    task = task_of(1.0)
    count = _trials_within(task, began(wall_s))
    assert _took_s(task, count, began(wall_s)) <= 3600
    assert count == 10_000 or _took_s(task, count + 1, began(wall_s)) > 3600


def test_a_time_that_is_too_short_for_anything_is_refused():
    with pytest.raises(InputError, match="hours are too few: 2 trials and a fresh audit take about"):
        _trials_within(task_of(0.01), began(600.0))
