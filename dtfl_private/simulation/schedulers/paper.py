"""Schedulers: from estimated times to a tier per participant."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dtfl_private.errors import shortened
from dtfl_private.plugins.own_objects import NOTHING_ALLOWED, Allowed, failures_named
from dtfl_private.plugins.registry import create
from dtfl_private.protocol.contracts import IntArray, Scheduler, TierChoice


@dataclass(frozen=True, kw_only=True)
class Dynamic:
    """The paper's dynamic tier scheduler: the least offloading that does not lengthen the round.

    T_max = max_k min_m T_k(m), from this round's estimates; each client gets the largest m with T_k(m) <= T_max
    (dtfl section 3).
    """

    uses_times: ClassVar[bool] = True

    def assign(self, choice: TierChoice, rng: np.random.Generator) -> IntArray:
        """Return the tiers of the participants."""
        times = choice.times_s_KM
        t_max = times.min(axis=1).max()
        fits_deepest_first = (times <= t_max)[:, ::-1]
        column_K = times.shape[1] - 1 - fits_deepest_first.argmax(axis=1)
        tiers: IntArray = choice.tiers_M[column_K]
        return tiers


def make_scheduler(text: str, tiers_M: IntArray, *, allowed: Allowed = NOTHING_ALLOWED) -> Scheduler:
    """Build the scheduler that ``text`` names and let it choose once, so that wrong settings are known at the start.

    ``allowed`` is as for `create`.
    """
    scheduler: Scheduler = create("scheduler", text, allowed=allowed)
    choice = TierChoice(times_s_KM=np.ones((1, len(tiers_M))), tiers_M=tiers_M)
    with failures_named(f"scheduler '{shortened(text)}' failed"):
        scheduler.assign(choice, np.random.default_rng(0))
    return scheduler
