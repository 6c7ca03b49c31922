"""The table ``[tuning]`` of a preset: which settings of its methods are tried.

    [tuning]
    seeds = [100]                    # of the trials; none of the preset's own
    validation = 0.1                 # share of all training images that trials are judged on
    metric = "time-to-target"        # or "accuracy"
    rounds = { small = 8, full = 60 }

    [[tuning.trials]]                # keys of CONFIG.toml; a list means one trial for each of its values
    method = "fedyogi"
    lr = [0.001, 0.003]

    [[tuning.trials]]
    method = ["fedyogi:server_lr=0.003", "fedyogi:server_lr=0.03"]

The trials of a method are those of all tables that name it, and the settings that the preset itself says. Every method
has equally many.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from dtfl_private.experiments.comparing.equal_terms import FOOTING, FREE
from dtfl_private.experiments.config.field_kinds import Count, Seed
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.tuning.plan import Metric

# Neither what must be equal in runs that are compared nor what changes no figure can be tuned.
TUNABLE = tuple(key for key in TrainConfig.model_fields if key not in (*FOOTING, *FREE, "rounds"))


class TuningTable(BaseModel):
    """What ``[tuning]`` of a preset says; ``rounds`` of the trials: by default those of the runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seeds: Annotated[list[Seed], Field(min_length=1)]
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1
    metric: Metric = "accuracy"
    rounds: Count | dict[str, Count] | None = None
    untuned: bool = True
    trials: Annotated[list[dict[str, Any]], Field(min_length=1)]

    def rounds_of(self, size: str) -> int | None:
        """Return the rounds of trials in one of the preset's sizes; None: as many as the runs have."""
        return self.rounds.get(size) if isinstance(self.rounds, dict) else self.rounds
