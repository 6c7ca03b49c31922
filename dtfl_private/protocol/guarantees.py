"""Privacy claims as values. No arithmetic: `dtfl_private.privacy.accounting` turns them into (epsilon, delta).

A defense says by these values what one client's round released. What is not among them has no guarantee.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from typing_extensions import TypedDict

Protected = Literal["weights", "smashed", "labels"]
"""What leaves a client: the weight update, the smashed data, the labels."""


@dataclass(frozen=True, kw_only=True)
class PrivacyTarget:
    """The delta at which an epsilon is asked for, and the epsilon that a client may spend in the whole run, if any."""

    delta: float
    epsilon: float | None = None


@dataclass(frozen=True, kw_only=True)
class SampledGaussian:
    """DP-SGD steps (Abadi et al. 2016, 1607.00133): the released weights depend on the records through these alone.

    Each step sums the clipped gradients of a secret Poisson sample and adds Gaussian noise.

    noise_multiplier: standard deviation of the noise over the clipping norm.
    sampling_rate: probability of each record to be in a step's sample.
    steps: number of steps.
    target: delta and budget. Adjacency: one record added or removed.
    """

    what: ClassVar[Protected] = "weights"

    noise_multiplier: float
    sampling_rate: float
    steps: int
    target: PrivacyTarget


@dataclass(frozen=True, kw_only=True)
class GaussianRelease:
    """Releases of every record's clipped activations with Gaussian noise; the server knows which record is which.

    noise_multiplier: standard deviation of the noise over the clipping norm C of a record; or, where each place of a
        text is clipped by itself, of a place. Replacing what is clipped by itself moves it by 2C at most.
    releases: how often each record was released.
    target: delta and budget. Adjacency: one record replaced, the client weights given; where places are clipped by
        themselves, one token of a text replaced by another.
    places: of a text at most, each clipped by itself: replacing the text moves the release by 2C times the root of
        this; None where the record is clipped as a whole.
    apart: whether each place was computed from its own token alone, so that replacing a token moves that place only;
        otherwise it may move all places, as replacing the text does.
    """

    what: ClassVar[Protected] = "smashed"

    noise_multiplier: float
    releases: int
    target: PrivacyTarget
    places: int | None = None
    apart: bool = False


@dataclass(frozen=True, kw_only=True)
class NoisyInputs:
    """Clipped inputs with Gaussian noise, which smashed data of every tier and weights are computed from, with labels.

    noise_multiplier: standard deviation of the noise over the clipping norm C; replacing an input moves it by 2C at
        most.
    releases: how often an input got noise of its own; 1 if ``repeated``.
    repeated: whether an input's noise is drawn once, and later rounds repeat the same draw.
    draw: which one it is, of defenses of one kind that each draw once; set by the chain.
    target: delta and budget. Adjacency: one input replaced, its label kept.
    """

    what: ClassVar[Protected] = "smashed"

    noise_multiplier: float
    releases: int
    repeated: bool
    target: PrivacyTarget
    draw: int = 0


@dataclass(frozen=True, kw_only=True)
class RandomizedResponse:
    """Labels drawn once per record by K-ary randomised response (Warner 1965); later releases repeat the same draw.

    epsilon: of the one draw, for replacing a record's label.
    draw: which one it is, of defenses of one kind that each draw once; set by the chain.
    """

    what: ClassVar[Protected] = "labels"

    epsilon: float
    draw: int = 0


@dataclass(frozen=True, kw_only=True)
class ReconstructionBound:
    """Gaussian noise calibrated to Fisher information (Maeng et al. 2023, 2305.04146): a bound, not an epsilon.

    mse: lower bound on the mean squared error per input value of an unbiased reconstruction from one release, in the
        network's normalised units.
    releases: how often each record was released; Fisher information adds up.
    """

    what: ClassVar[Protected] = "smashed"

    mse: float
    releases: int


Kind = Literal["SampledGaussian", "GaussianRelease", "NoisyInputs", "RandomizedResponse", "ReconstructionBound"]
"""The name of a guarantee's type."""


@dataclass(frozen=True, kw_only=True)
class Undefended:
    """Rounds in which a client sent what a defense protects elsewhere, where that defense's rule did not hold.

    No guarantee of that kind is left of all that the client has released: a part of it is not covered.

    instead_of: the guarantee that the defense would have given.
    rounds: number of such rounds.
    """

    instead_of: Kind
    rounds: int = 1

    @property
    def what(self) -> Protected:
        """What was sent so."""
        kinds = (SampledGaussian, GaussianRelease, NoisyInputs, RandomizedResponse, ReconstructionBound)
        return next(kind.what for kind in kinds if kind.__name__ == self.instead_of)


Guarantee = SampledGaussian | GaussianRelease | NoisyInputs | RandomizedResponse | ReconstructionBound | Undefended


Disclosed = Protected | Literal["statistics"]
"""What leaves clients: what defenses can protect, and the statistics of their pixels, on which none acts."""


class Disclosure(TypedDict):
    """One entry of ``privacy`` in rounds.jsonl.

    what: weights, smashed, labels or statistics.
    epsilon, delta: of the client that is worst off; null where there is no such guarantee.
    per: the unit protected; null without a guarantee.
    sentence: all that may be said, in words.
    client: the client that is worst off; null without a guarantee.
    """

    what: Disclosed
    epsilon: float | None
    delta: float | None
    per: str | None
    sentence: str
    client: int | None
