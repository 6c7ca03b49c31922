"""Schedulers other than the paper's dynamic one: its variants, and baselines."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from dtfl_private.errors import InputError
from dtfl_private.protocol.contracts import IntArray, TierChoice, TimesSource, tier_names
from dtfl_private.simulation.schedulers.dynamic import Dynamic


@dataclass(frozen=True, kw_only=True)
class LastValue(Dynamic):
    """The paper's scheduler without its moving average: each client's last measurement is taken as it is."""

    sees: ClassVar[TimesSource] = "last"


@dataclass(frozen=True, kw_only=True)
class Oracle(Dynamic):
    """The paper's scheduler with this round's true times, noise, drift and dropouts included: no server knows them.

    It does not know of the server's queue either. With a saturated server others can be faster.
    """

    sees: ClassVar[TimesSource] = "truth"


@dataclass(frozen=True, kw_only=True)
class StaticProfile(Dynamic):
    """The paper's choice once: a client keeps the tier that its first measurement gave it for the whole run."""

    def assign(self, choice: TierChoice, rng: np.random.Generator) -> IntArray:
        """Return each participant's first tier, chosen now for those that have none."""
        chosen = super().assign(choice, rng)
        if choice.estimates is None:
            return chosen
        first_K = choice.estimates.first_tiers_K
        return np.where(first_K > 0, first_K, chosen)


@dataclass(frozen=True)
class Static:
    """One tier m for all clients in all rounds: plain split learning with local losses."""

    uses_times: ClassVar[bool] = False
    m: Annotated[int, Field(ge=1)]

    def assign(self, choice: TierChoice, rng: np.random.Generator) -> IntArray:
        """Return tier m for every participant."""
        if self.m not in choice.tiers_M:
            allowed: list[int] = choice.tiers_M.tolist()
            raise InputError(
                f"scheduler static:{self.m} names a tier that is not allowed here: "
                f"tier{'s' if len(allowed) > 1 else ''} {tier_names(allowed)} {'are' if len(allowed) > 1 else 'is'}"
            )
        return np.full(len(choice.times_s_KM), self.m, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Random:
    """A tier drawn uniformly for each participant in each round: a baseline."""

    uses_times: ClassVar[bool] = False

    def assign(self, choice: TierChoice, rng: np.random.Generator) -> IntArray:
        """Return random tiers."""
        return rng.choice(choice.tiers_M, size=len(choice.times_s_KM))
