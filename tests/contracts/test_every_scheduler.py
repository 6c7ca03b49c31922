"""What must hold for every scheduler."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dtfl_private.data.dataset import ImageDataset
from dtfl_private.errors import RunError
from dtfl_private.experiments.plan import COMPARED
from dtfl_private.experiments.train import train
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.plugins.installed import installed
from dtfl_private.simulation.schedule_round import schedule_round
from dtfl_private.simulation.schedule_state import ScheduleState


class Disobedient:
    """A scheduler of somebody's own that names tier 2 whatever is allowed."""

    uses_times = False

    def assign(self, choice, rng):
        return np.full(len(choice.times_s_KM), 2)


SCHEDULERS = [*COMPARED, "efficient:rounds_ratio=0.7", "static:m=3"]


@pytest.mark.parametrize("first_tier", ["probe", "shallowest", "middle", "deepest"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_no_client_is_ever_in_a_forbidden_tier(prepare_tiny, scheduler, first_tier):
    chance = {"drift_share": 0.5, "drift_every": 2, "noise": 1.0, "dropout": 0.3, "absent": 0.3, "leave": 0.2}
    values = {"scheduler": scheduler, "first_tier": first_tier, "clients": 12, "fraction": 0.7, "join": 0.3}
    prepared = prepare_tiny(allowed_tiers=[1, 3], server_workers=2, **values, **chance)
    settings = prepared.settings.schedule
    state, seen = ScheduleState.start(settings), set()
    for number in range(1, 31):
        state, planned = schedule_round(state, settings, number)
        seen |= set(planned.tiers_P.tolist())
    assert seen <= {1, 3}
    assert seen == ({3} if scheduler == "static:m=3" else {1, 3} if scheduler == "random" else seen)


def test_every_installed_scheduler_is_among_those_tested():
    assert set(installed("scheduler")) == {name.partition(":")[0] for name in SCHEDULERS}


def test_a_scheduler_that_does_not_obey_is_stopped(
    patterns: ImageDataset, tiny_network: Callable[[], StagedModel], tiny_config: Callable[..., Any], tmp_path: Path
):
    config = tiny_config(allowed_tiers=[1, 3])
    with pytest.raises(RunError, match=r"must name one of the tiers \[1, 3\]"):
        train(config, out=tmp_path / "run", dataset=patterns, model=tiny_network(), scheduler=Disobedient())
