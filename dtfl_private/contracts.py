"""The protocols of plug-ins: what an object must offer to take part in a run.

Every plug-in is found by an entry point of the group named here, or passed to `dtfl_private.train` as an object.
An entry point names a callable; its own keyword parameters, with their annotations and defaults, are the keys that
a user may write after the name (``NAME:key=value,...``; a first value without a key goes to the first parameter).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from dtfl_private.messages import SmashedBatch, WeightUpdate

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@runtime_checkable
class Partition(Protocol):
    """Group ``dtfl_private.partitions``: deal the training examples out to the clients."""

    def deal(self, labels: IntArray, clients: int, rng: np.random.Generator) -> list[IntArray]:
        """Return one sorted index array per client: disjoint, none empty, together all of ``labels``."""
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


@runtime_checkable
class Defense(Protocol):
    """Group ``dtfl_private.defenses``: rewrite what leaves a client.

    The trainer calls both methods on the client, with a random stream of this client and round.
    """

    def protect_batch(self, message: SmashedBatch, rng: torch.Generator) -> SmashedBatch:
        """Return the smashed data and labels as they may leave the client."""
        ...

    def protect_update(self, message: WeightUpdate, rng: torch.Generator) -> WeightUpdate:
        """Return the weight update as it may leave the client."""
        ...


class DefenseChain:
    """Defenses applied one after the other: a chain is a defense. The empty chain changes nothing."""

    def __init__(self, defenses: Sequence[Defense] = ()) -> None:
        self.defenses = tuple(defenses)

    def protect_batch(self, message: SmashedBatch, rng: torch.Generator) -> SmashedBatch:
        """Apply each defense in the order given."""
        for defense in self.defenses:
            message = defense.protect_batch(message, rng)
        return message

    def protect_update(self, message: WeightUpdate, rng: torch.Generator) -> WeightUpdate:
        """Apply each defense in the order given."""
        for defense in self.defenses:
            message = defense.protect_update(message, rng)
        return message
