"""The protocols of plug-ins: what an object must offer to take part in a run.

Every plug-in is found by an entry point of the group named here, or passed to `dtfl_private.train` as an object.
An entry point names a callable; its own keyword parameters, with their annotations and defaults, are the keys that
a user may write after the name (``NAME:key=value,...``; a first value without a key goes to the first parameter).
Defenses have a module of their own: `dtfl_private.protection.base`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@runtime_checkable
class Partition(Protocol):
    """Group ``dtfl_private.partitions``: deal the training examples out to the clients."""

    def deal(
        self, labels: IntArray, clients: int, rng: np.random.Generator, client_ids: IntArray | None = None
    ) -> list[IntArray]:
        """Return one sorted index array per client: disjoint, none empty, together all of ``labels``.

        ``client_ids`` says to whom each image naturally belongs; None where the data set does not know.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class RoundEstimates:
    """What the server estimates of a round in more detail than its participants' times.

    arrival_s_KM: per participant and allowed tier, when its first data are expected at the server, in seconds: T_com,
        or T_train + T_com where clients train before they send.
    streaming_s_KM: how long its data keep coming then, evenly: what it computes meanwhile, in seconds.
    service_s_KM: estimated T_s: how long a server half keeps a worker busy, in seconds.
    server_workers: server halves that are trained at once.
    images_K: images each participant trains on.
    first_tiers_K: the tier that the scheduler gave each one first; 0 where it has not yet given any.
    depth_spread: how much the mean depth of the rounds so far has varied: the weighted sum of its squared deviations
        from its mean; depth is 0 in the shallowest tier and 1 in the deepest.
    depth_gain: the weighted sum of the products of these deviations and of those of the rounds' progress, the latter
        relative to the mean progress. ``depth_gain / depth_spread`` is the least-squares slope.
    change_rate: probability that a client's resources have changed much since they were measured.
    """

    arrival_s_KM: FloatArray
    streaming_s_KM: FloatArray
    service_s_KM: FloatArray
    server_workers: int
    images_K: FloatArray
    first_tiers_K: IntArray
    depth_spread: float = 0.0
    depth_gain: float = 0.0
    change_rate: float = 0.0


@dataclass(frozen=True, kw_only=True)
class TierChoice:
    """What a scheduler may know when it names the tiers of a round's K participants.

    times_s_KM: estimated T_k(m) in seconds per participant and allowed tier (dtfl section 3).
    tiers_M: the allowed tiers m (client modules), ascending; the columns of ``times_s_KM``.
    estimates: what else the server estimates; None for schedulers that use no times.
    open_KM: which of these tiers each participant may take, at least one; None if all. Who is named another takes the
        next deeper one that it may take, or else the next shallower one: a scheduler need not look at it.
    """

    times_s_KM: FloatArray
    tiers_M: IntArray
    estimates: RoundEstimates | None = None
    open_KM: BoolArray | None = None

    @property
    def open_times_s_KM(self) -> FloatArray:
        """The estimated times, infinite in tiers that a participant may not take."""
        return self.times_s_KM if self.open_KM is None else np.where(self.open_KM, self.times_s_KM, np.inf)


TimesSource = Literal["average", "last", "truth"]
"""What a scheduler's times come from: the moving average of each client's measurements (the default), its last
measurement, or the truth of the round, which no server knows."""

FirstTier = Literal["probe", "shallowest", "middle", "deepest"]
"""What a client gets before it was ever measured: a fixed tier, or first a probe by one batch."""


@runtime_checkable
class Scheduler(Protocol):
    """Group ``dtfl_private.schedulers``: name a tier for each participant of a round.

    ``uses_times`` says whether the choice depends on estimated times. If not, clients need not be measured first and
    ``choice.times_s_KM`` is all zero.

    A scheduler may also say what its times come from, by an attribute ``sees: TimesSource``.
    """

    uses_times: ClassVar[bool]

    def assign(self, choice: TierChoice, rng: np.random.Generator) -> IntArray:
        """Return the tiers (client modules) of the K participants, each out of ``choice.tiers_M``."""
        ...


def tier_names(tiers: Sequence[int]) -> str:
    """Return ascending tiers for people: "3..7" if they follow one another, otherwise "3, 5, 6"."""
    gapless = len(tiers) > 1 and tiers[-1] - tiers[0] == len(tiers) - 1
    return f"{tiers[0]}..{tiers[-1]}" if gapless else ", ".join(map(str, tiers))
