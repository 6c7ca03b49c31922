"""The protocols of plug-ins: what an object must offer to take part in a run.

Every plug-in is found by an entry point of the group named here, or passed to `dtfl_private.train` as an object.
An entry point names a callable; its own keyword parameters, with their annotations and defaults, are the keys that
a user may write after the name (``NAME:key=value,...``; a first value without a key goes to the first parameter).
Defenses have a module of their own: `dtfl_private.defense`.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

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
class TierChoice:
    """What a scheduler may know when it names the tiers of a round's K participants.

    times_s_KM: estimated T_k(m) in seconds per participant and allowed tier (dtfl section 3).
    tiers_M: the allowed tiers m (client modules), ascending; the columns of ``times_s_KM``.
    """

    times_s_KM: FloatArray
    tiers_M: IntArray


@runtime_checkable
class Scheduler(Protocol):
    """Group ``dtfl_private.schedulers``: name a tier for each participant of a round.

    ``uses_times`` says whether the choice depends on estimated times. If not, clients need not be measured first and
    ``choice.times_s_KM`` is all zero.
    """

    uses_times: ClassVar[bool]

    def assign(self, choice: TierChoice, rng: np.random.Generator) -> IntArray:
        """Return the tiers (client modules) of the K participants, each out of ``choice.tiers_M``."""
        ...
