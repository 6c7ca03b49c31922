"""What one client has released so far: its guarantees, equal mechanisms merged; one ledger for all rounds and tiers.

A ledger knows nothing of models, hence survives changes of tier. It is a value: `charge` returns a new one.
"""

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from dtfl_private.errors import InputError
from dtfl_private.protocol.guarantees import (
    GaussianRelease,
    Guarantee,
    Kind,
    NoisyInputs,
    PrivacyTarget,
    RandomizedResponse,
    ReconstructionBound,
    SampledGaussian,
    Undefended,
)

Ledger = tuple[Guarantee, ...]
"""Guarantees of one client, each mechanism once with the number of its uses, in the order of their first use."""

# Far more distinct mechanisms than any run has; a longer ledger in a checkpoint is damage.
MAX_ENTRIES = 10_000
MAX_COUNT = 2**53


def charge(ledger: Ledger, guarantees: Iterable[Guarantee]) -> Ledger:
    """Return the ledger with more releases in it.

    Steps and releases of equal mechanisms add up. A randomised response of the same epsilon and ``draw`` is the same
    memoised draw, and counts once, as repeated noise on inputs does.

    Raises:
        InputError: a guarantee of a type that nobody here knows how to count.
    """
    counts: dict[Guarantee, int] = {}
    for guarantee in (*ledger, *guarantees):
        mechanism, count = _split(guarantee)
        counts[mechanism] = counts.get(mechanism, 0) + count
    return tuple(_counted(mechanism, count) for mechanism, count in counts.items())


def unknown(guarantee: object) -> InputError:
    """Return the error for a guarantee of an unknown type."""
    return InputError(
        f"a defense states a guarantee of type {type(guarantee).__name__}, which cannot be accounted for: "
        "state one of dtfl_private.protocol.guarantees, or none"
    )


def _split(guarantee: Guarantee) -> tuple[Guarantee, int]:
    """Return the mechanism without its count, to compare it with others, and the count."""
    match guarantee:
        case SampledGaussian():
            return replace(guarantee, steps=0), guarantee.steps
        case NoisyInputs(repeated=True) | RandomizedResponse():
            return guarantee, 1
        case Undefended():
            return replace(guarantee, rounds=0), guarantee.rounds
        case GaussianRelease() | NoisyInputs() | ReconstructionBound():
            return replace(guarantee, releases=0), guarantee.releases
    raise unknown(guarantee)


def _counted(mechanism: Guarantee, count: int) -> Guarantee:
    match mechanism:
        case SampledGaussian():
            return replace(mechanism, steps=count)
        case NoisyInputs(repeated=True) | RandomizedResponse():
            return mechanism
        case Undefended():
            return replace(mechanism, rounds=count)
        case GaussianRelease() | NoisyInputs() | ReconstructionBound():
            return replace(mechanism, releases=count)


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Target(_Strict):
    delta: Annotated[float, Field(gt=0, lt=1)]
    epsilon: Positive | None

    def value(self) -> PrivacyTarget:
        return PrivacyTarget(delta=self.delta, epsilon=self.epsilon)


class _SampledGaussian(_Strict):
    kind: Literal["SampledGaussian"]
    noise_multiplier: Positive
    sampling_rate: Annotated[float, Field(gt=0, le=1)]
    steps: Count
    target: _Target

    def value(self) -> SampledGaussian:
        return SampledGaussian(
            noise_multiplier=self.noise_multiplier,
            sampling_rate=self.sampling_rate,
            steps=self.steps,
            target=self.target.value(),
        )


class _GaussianRelease(_Strict):
    kind: Literal["GaussianRelease"]
    noise_multiplier: Positive
    releases: Count
    target: _Target
    places: Annotated[int, Field(ge=1, le=MAX_COUNT)] | None = None
    apart: bool = False

    @model_validator(mode="after")
    def _of_places(self) -> "_GaussianRelease":
        if self.apart and self.places is None:
            raise ValueError("places that are computed apart must be counted")
        return self

    def value(self) -> GaussianRelease:
        return GaussianRelease(
            noise_multiplier=self.noise_multiplier,
            releases=self.releases,
            target=self.target.value(),
            places=self.places,
            apart=self.apart,
        )


class _NoisyInputs(_Strict):
    kind: Literal["NoisyInputs"]
    noise_multiplier: Positive
    releases: Count
    repeated: bool
    target: _Target
    draw: Count = 0

    @model_validator(mode="after")
    def _drawn_once(self) -> "_NoisyInputs":
        if self.repeated and self.releases != 1:
            raise ValueError(f"noise that is repeated is one release, not {self.releases}")
        return self

    def value(self) -> NoisyInputs:
        return NoisyInputs(
            noise_multiplier=self.noise_multiplier,
            releases=self.releases,
            repeated=self.repeated,
            target=self.target.value(),
            draw=self.draw,
        )


class _RandomizedResponse(_Strict):
    kind: Literal["RandomizedResponse"]
    epsilon: Positive
    draw: Count = 0

    def value(self) -> RandomizedResponse:
        return RandomizedResponse(epsilon=self.epsilon, draw=self.draw)


class _ReconstructionBound(_Strict):
    kind: Literal["ReconstructionBound"]
    mse: Positive
    releases: Count

    def value(self) -> ReconstructionBound:
        return ReconstructionBound(mse=self.mse, releases=self.releases)


class _Undefended(_Strict):
    kind: Literal["Undefended"]
    instead_of: Kind
    rounds: Count

    def value(self) -> Undefended:
        return Undefended(instead_of=self.instead_of, rounds=self.rounds)


_Entry = _SampledGaussian | _GaussianRelease | _NoisyInputs | _RandomizedResponse | _ReconstructionBound | _Undefended
_ENTRIES: TypeAdapter[list[_Entry]] = TypeAdapter(
    Annotated[list[Annotated[_Entry, Field(discriminator="kind")]], Field(max_length=MAX_ENTRIES)]
)


def to_json(ledger: Ledger) -> list[dict[str, Any]]:
    """Return the ledger in lists, dictionaries, strings and numbers; floats survive JSON exactly."""
    return [{"kind": type(guarantee).__name__, **asdict(guarantee)} for guarantee in ledger]


def from_json(entries: object) -> Ledger:
    """Return the ledger that `to_json` wrote, as read from a file of which nothing is believed.

    Raises:
        ValueError: anything but a ledger; one line that says where and what.
    """
    try:
        checked = _ENTRIES.validate_python(entries)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the ledger"
        raise ValueError(f"not a privacy ledger: {place}: {first['msg']}") from None
    ledger = tuple(entry.value() for entry in checked)
    if charge((), ledger) != ledger:
        raise ValueError("not a privacy ledger: a mechanism is listed twice")
    return ledger


def _validated(value: object) -> Ledger:
    """Take a ledger as it is, and anything else as what was read from JSON."""
    if isinstance(value, tuple):
        return charge((), value)
    return from_json(value)


LedgerEntries = Annotated[Ledger, PlainValidator(_validated), PlainSerializer(to_json)]
"""A ledger as a field of a pydantic model."""


OnBudget = Literal["retire", "stop"]
