"""The scheduler that a text names."""

import numpy as np

from dtfl_private.errors import shortened
from dtfl_private.plugins.own_objects import NOTHING_ALLOWED, Allowed, failures_named
from dtfl_private.plugins.registry import create
from dtfl_private.protocol.contracts import IntArray, Scheduler, TierChoice


def make_scheduler(text: str, tiers_M: IntArray, *, allowed: Allowed = NOTHING_ALLOWED) -> Scheduler:
    """Build the scheduler that ``text`` names and let it choose once, so that wrong settings are known at the start.

    ``allowed`` is as for `create`.
    """
    scheduler: Scheduler = create("scheduler", text, allowed=allowed)
    choice = TierChoice(times_s_KM=np.ones((1, len(tiers_M))), tiers_M=tiers_M)
    with failures_named(f"scheduler '{shortened(text)}' failed"):
        scheduler.assign(choice, np.random.default_rng(0))
    return scheduler
