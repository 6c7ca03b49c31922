"""What a defense's cost and guarantees follow from: the cut, the run, and what leaves a client in a round."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Where a defense would act, for its cost: shapes of one record, and the work of the client half.

    smashed_bytes: bytes of one record's activations without any defense.
    forward_macs: multiply-accumulates of the client half's forward pass on one record.
    """

    tier: int
    input_shape: tuple[int, ...]
    cut_shape: tuple[int, ...]
    smashed_bytes: int
    forward_macs: int
    batch_size: int

    @property
    def input_values(self) -> int:
        """Number of values of one input."""
        return math.prod(self.input_shape)

    @property
    def cut_values(self) -> int:
        """Number of values of one record's activations."""
        return math.prod(self.cut_shape)


@dataclass(frozen=True, kw_only=True)
class KnownNoise:
    """What can be counted on of the Gaussian noise in smashed data.

    Attributes:
        std: standard deviation, the same of every value, in units of the activations; None if nothing can be counted
            on.
        contracted: whether something acts on the activations before the noise; it moves no two records further apart.
        reason: why ``std`` is None.
    """

    std: float | None = None
    contracted: bool = False
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class TokenPlaces:
    """The places of a run's texts.

    most: of a text, padding included.
    apart_tiers: in tiers up to this one each place is computed from its own token alone; 0: in none.
    """

    most: int
    apart_tiers: int

    def apart(self, tier: int) -> bool:
        """Whether each place is computed from its own token alone in a tier."""
        return tier <= self.apart_tiers


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What a defense may know of the whole run before it starts, to calibrate itself.

    records_K: N_k of every client.
    augmented: whether clients alter their images at random, another way each time.
    tiers: in which a client may be that sends smashed data, and this defense acts; () where nobody says.
    places: of texts; None where there are none.
    """

    rounds: int
    batch_size: int
    local_epochs: int
    classes: int
    records_K: tuple[int, ...]
    augmented: bool = False
    tiers: tuple[int, ...] = ()
    places: TokenPlaces | None = None


@dataclass(frozen=True, kw_only=True)
class RoundRelease:
    """What left a client in one round: its batches (each record once per epoch, or once) and its weight update.

    steps: steps of local training that the update depends on.
    epochs: how often each record was sent.
    places: of a text, padding included; None where there are none, or nobody says.
    apart: whether each place is computed from its own token alone before the defense that is asked acts on it.
    """

    records: int
    batch_size: int
    steps: int
    epochs: int
    batches: bool = True
    update: bool = True
    places: int | None = None
    apart: bool = False
