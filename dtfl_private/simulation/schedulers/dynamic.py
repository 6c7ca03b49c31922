"""Schedulers: from estimated times to a tier per participant."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dtfl_private.protocol.contracts import IntArray, TierChoice


@dataclass(frozen=True, kw_only=True)
class Dynamic:
    """The paper's dynamic tier scheduler: the least offloading that does not lengthen the round.

    T_max = max_k min_m T_k(m), from this round's estimates; each client gets the largest m with T_k(m) <= T_max
    (dtfl section 3).
    """

    uses_times: ClassVar[bool] = True

    def assign(self, choice: TierChoice, rng: np.random.Generator) -> IntArray:
        """Return the tiers of the participants."""
        times = choice.open_times_s_KM
        t_max = times.min(axis=1).max()
        fits_deepest_first = (times <= t_max)[:, ::-1]
        column_K = times.shape[1] - 1 - fits_deepest_first.argmax(axis=1)
        tiers: IntArray = choice.tiers_M[column_K]
        return tiers
