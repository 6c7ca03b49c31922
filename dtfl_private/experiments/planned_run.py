"""A run that is to be made."""

from dataclasses import dataclass

from dtfl_private.experiments.config.train_config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """A run of a preset. name: what tells it from the others, fit for a folder."""

    name: str
    config: TrainConfig
