"""The plan of a tuning stage: which settings are tried for which runs of a preset."""

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dtfl_private.experiments.config.differences import FREE_ON_RESUME
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.planned_run import PlannedRun

Metric = Literal["accuracy", "time-to-target"]
"""What a trial is judged by, on the validation images: the accuracy after its last round, or the simulated time to the
target accuracy."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Settings that are tried. settings: what they replace, by key; runs: one for each seed."""

    settings: Mapping[str, Any]
    runs: Sequence[PlannedRun]


@dataclass(frozen=True, kw_only=True)
class TunedCombination:
    """A combination of a preset's grid, and the trials of it.

    Attributes:
        name: what tells it from the others, as in the names of its runs.
        untuned: its runs, one for each seed of the preset.
        trials: the first one replaces nothing: what the preset itself says.
        tuned: for each trial, the runs with its settings; the first trial's are the untuned ones.
    """

    name: str
    untuned: Sequence[PlannedRun]
    trials: Sequence[Trial]
    tuned: Sequence[Sequence[PlannedRun]]


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """The tuning stage of a preset.

    Attributes:
        metric: what trials are judged by.
        untuned: whether the runs are also made with the settings that the preset itself says.
        combinations: of the grid, all with equally many trials.
    """

    metric: Metric
    untuned: bool
    combinations: Sequence[TunedCombination]

    @property
    def runs(self) -> Sequence[PlannedRun]:
        """All runs of all trials."""
        trials = itertools.chain.from_iterable(combination.trials for combination in self.combinations)
        return [run for trial in trials for run in trial.runs]

    def fingerprint(self) -> str:
        """Return the SHA-256 of all that a choice depends on: the metric, and the configurations of the trials."""
        configs = [_dumped(run.config) for run in self.runs]
        return hashlib.sha256(json.dumps([self.metric, configs], sort_keys=True).encode()).hexdigest()


def _dumped(config: TrainConfig) -> dict[str, Any]:
    return config.model_dump(mode="json", exclude=set(FREE_ON_RESUME))
