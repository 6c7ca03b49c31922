"""The kinds of values that fields of a configuration take, as they are written in TOML and on the command line."""

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    Tag,
)

from dtfl_private.data.normalization import Normalization
from dtfl_private.files import reading
from dtfl_private.simulation.clients.profiles import ResourceProfile
from dtfl_private.simulation.clients.traces import TracesSource
from dtfl_private.verdicts.leakage_budget import LeakageBudget
from dtfl_private.verdicts.leakage_source import LeakageSource, leakage_text, parse_leakage

# How "no value" is written in TOML, which has no null, and on the command line.
NOTHING = "none"


# How "whatever suits the host" is written.
AUTOMATIC = "auto"


def as_nothing(value: object) -> object:
    """Read ``none`` as no value."""
    return None if value == NOTHING else value


def as_automatic(value: object) -> object:
    """Let ``auto`` and ``none`` leave the choice to the host."""
    return None if value in (AUTOMATIC, NOTHING) else value


def as_several(value: object) -> object:
    """Read one name as a list of one, and an empty text as an empty list."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def as_budget(value: object) -> object:
    """Write a leakage budget in its one spelling; ``none`` is no budget."""
    return str(LeakageBudget.parse(value)) if isinstance(value, str) and value != NOTHING else as_nothing(value)


def as_leakage_source(value: object) -> object:
    """Write where leakage was measured in its one spelling; ``none`` is nowhere."""
    return str(LeakageSource.parse(value)) if isinstance(value, str) and value != NOTHING else as_nothing(value)


def as_leakage(value: object) -> object:
    """Write the leakage of tiers in its one spelling; ``none`` is of no tier."""
    return leakage_text(parse_leakage(value)) if isinstance(value, str) and value != NOTHING else as_nothing(value)


def as_traces(value: object) -> object:
    """Write where traces are in its one spelling; ``none`` is nowhere."""
    return str(TracesSource.parse(value)) if isinstance(value, str) and value != NOTHING else as_nothing(value)


def as_normalization(value: object) -> object:
    """Write a normalisation in its one spelling."""
    return str(Normalization.parse(value)) if isinstance(value, str) else value


def as_tiers(value: object) -> object:
    """Take tier numbers as `as_several` does; ``none`` sets no limit."""
    return as_several(value) if value != NOTHING else None


Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Times = Annotated[float, Field(ge=1, le=1e6)]
Speed = Annotated[float, Field(ge=1e-6, le=1e12)]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
ValidationShare = Annotated[float, Field(ge=0, lt=1)]


# Of seeds, and of rounds and clients that are named: what TOML can write.
LARGEST_INTEGER = reading.LARGEST_TOML_INTEGER

Seed = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]

# Ascending, each once.
Tiers = Annotated[list[Count], Field(min_length=1, max_length=1000), AfterValidator(lambda tiers: sorted(set(tiers)))]


Augmentation = Literal["crop", "flip", "cutout"]


RecordedRound = Annotated[int, Field(ge=1, le=LARGEST_INTEGER)] | Literal["last"]
RecordedClient = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]


# By kind of value, so that an error in a table is not reported as "not a name".
Profiles = Annotated[
    Annotated[str, Tag("<name>")] | Annotated[list[ResourceProfile], Tag("<tables>")],
    Discriminator(lambda value: "<tables>" if isinstance(value, list | tuple) else "<name>"),
]
