"""The space: what a search may choose, as a TOML file declares it.

    [[defense]]                      # one of each slot is taken, or none
    name = "gaussian-noise"
    slot = "activations"             # as by default
    [defense.settings]
    sd = { low = 0.02, high = 2.0, scale = "log" }      # a range; without scale it is linear
    # or a list to choose from, or one value

    [train]                          # keys of CONFIG.toml, each with the values to choose from
    wire = ["int8", "int4"]
    tiers = [">=2", ">=3"]           # conditions on the tiers that clients may be in

What the configuration itself says is always among the choices of ``[train]``. Points of the space are mappings from
names of dimensions to values.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dtfl_private.choosing.limits import tiers_of
from dtfl_private.errors import InputError, unknown_name
from dtfl_private.experiments.config.toml_files import as_fields, load_toml
from dtfl_private.experiments.config.value_words import shown
from dtfl_private.experiments.tuning.table import TUNABLE
from dtfl_private.files.reading import parse_toml
from dtfl_private.leakage.results.result import first_fault
from dtfl_private.plugins.registry import create
from dtfl_private.plugins.specification import is_object_path, parse
from dtfl_private.protection.defense_rule import DefenseRule
from dtfl_private.protection.named_defense import make_defense

Value = bool | int | float | str
Point = Mapping[str, Value]

NONE = "none"
ALL = "all"
TIERS = "tiers"
# ``tiers`` of a space are conditions; what a run does with the network's cuts otherwise is its own.
CHOOSABLE = (TIERS, *(key for key in TUNABLE if key not in ("tiers", "defense", "leakage_budget", "allowed_tiers")))
MOST_DEFENSES, MOST_VALUES = 200, 200

Name = Annotated[str, Field(min_length=1, max_length=1000)]
Text = Annotated[str, Field(max_length=1000)]
Number = Annotated[int | Annotated[float, Field(allow_inf_nan=False)], Field(ge=-1e12, le=1e12)]
Plain = bool | Number | Text


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Range(_Strict):
    """A range of numbers, whole ones where both ends are."""

    low: Number
    high: Number
    scale: Literal["lin", "log"] = "lin"

    @property
    def whole(self) -> bool:
        """Whether its numbers are whole."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if not self.low < self.high:
            raise ValueError(f"low {self.low} is not below high {self.high}")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"a logarithmic range begins above 0, not at {self.low}")
        return self


Values = Annotated[list[Plain], Field(min_length=1, max_length=MOST_VALUES)]


class DefenseChoice(_Strict):
    """A defense that may be chosen, with the strengths that it may have, and where it may act."""

    name: Name
    slot: Annotated[str, Field(min_length=1, max_length=50, pattern=r"^[a-z][a-z0-9-]*$")] = "activations"
    settings: Annotated[dict[Name, Range | Values | Plain], Field(max_length=50)] = Field(default_factory=dict)
    tiers: Annotated[list[Name], Field(min_length=1, max_length=50)] = Field(default_factory=lambda: [ALL])


class _SpaceFile(_Strict):
    defense: Annotated[list[DefenseChoice], Field(max_length=MOST_DEFENSES)] = Field(default_factory=list)
    train: dict[Name, Values | Plain] = Field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One thing to choose: from some values, or from a range.

    Attributes:
        name: in points.
        values: to choose from; empty for a range.
        range: of numbers; None for values.
    """

    name: str
    values: tuple[Value, ...] = ()
    range: Range | None = None

    def __contains__(self, value: object) -> bool:
        if self.range is not None:
            return value in self.range
        return any(value == known and type(value) is type(known) for known in self.values)


@dataclass(frozen=True, kw_only=True)
class Space:
    """What a search may choose.

    Attributes:
        slots: defenses by the slot of which one is taken, or none.
        train: keys of the configuration with the values to choose from.
    """

    slots: Mapping[str, Sequence[DefenseChoice]] = field(default_factory=dict)
    train: Mapping[str, Sequence[Value]] = field(default_factory=dict)

    def first_dimensions(self) -> list[Dimension]:
        """Return what is chosen in every point: a defense of each slot, and the keys of the configuration."""
        slots = [
            Dimension(name=slot, values=(NONE, *(one.name for one in choices))) for slot, choices in self.slots.items()
        ]
        return [*slots, *(Dimension(name=f"train.{key}", values=tuple(values)) for key, values in self.train.items())]

    def further_dimensions(self, point: Point) -> list[Dimension]:
        """Return what is still to be chosen once the defenses are: their strengths, and where they act."""
        return [dimension for choice in self.defenses_of(point) for dimension in _dimensions(choice)]

    def defenses_of(self, point: Point) -> list[DefenseChoice]:
        """Return the defenses of a point, in the order of the slots."""
        return [one for slot, choices in self.slots.items() for one in choices if one.name == point.get(slot)]

    def holds(self, point: Point) -> bool:
        """Whether a point has a value of each of its dimensions, and of no others."""
        dimensions = [*self.first_dimensions(), *self.further_dimensions(point)]
        return {one.name for one in dimensions} == {*point} and all(point[one.name] in one for one in dimensions)

    @property
    def size(self) -> int | None:
        """How many points there are; None where some range has more numbers than can be tried."""
        count = math.prod(len(values) for values in self.train.values())
        for choices in self.slots.values():
            own = [_size(choice) for choice in choices]
            if None in own:
                return None
            count *= 1 + sum(size for size in own if size is not None)
        return count

    def points(self) -> Iterator[Point]:
        """Yield all points of a space that has a size, in the order of what it says."""
        yield from _grid({}, self.first_dimensions(), self)


def _grid(point: dict[str, Value], left: Sequence[Dimension], space: Space) -> Iterator[Point]:
    if left:
        for value in left[0].values:
            yield from _grid({**point, left[0].name: value}, left[1:], space)
        return
    missing = [one for one in space.further_dimensions(point) if one.name not in point]
    if missing:
        yield from _grid(point, missing, space)
    else:
        yield dict(point)


def _dimensions(choice: DefenseChoice) -> list[Dimension]:
    """Return the dimensions of a defense: its settings that are not fixed, and where it acts if that is open."""
    found = []
    for key, value in choice.settings.items():
        if isinstance(value, Range):
            found.append(Dimension(name=f"{choice.name}.{key}", range=value))
        elif isinstance(value, list):
            found.append(Dimension(name=f"{choice.name}.{key}", values=tuple(value)))
    if len(choice.tiers) > 1:
        found.append(Dimension(name=f"{choice.name}@tier", values=tuple(choice.tiers)))
    return found


def _size(choice: DefenseChoice) -> int | None:
    dimensions = _dimensions(choice)
    return None if any(one.range is not None for one in dimensions) else math.prod(len(d.values) for d in dimensions)


def defense_text(choice: DefenseChoice, point: Point) -> str:
    """Return a chosen defense as a configuration names it: NAME[:key=value,...][@tierCONDITION]."""
    settings = {}
    for key, value in choice.settings.items():
        chosen = point.get(f"{choice.name}.{key}", value if not isinstance(value, Range | list) else None)
        settings[key] = f"{chosen:.4g}" if isinstance(chosen, float) else str(chosen)
    where = str(point.get(f"{choice.name}@tier", choice.tiers[0]))
    text = f"{choice.name}:{','.join(f'{key}={value}' for key, value in settings.items())}" if settings else choice.name
    return text if where == ALL else f"{text}@tier{where}"


def default_point(choice: DefenseChoice) -> Point | None:
    """Return the strengths that a defense has if nothing is said of them; None where they are not in the space."""
    made = create("defense", choice.name)
    point: dict[str, Value] = {}
    for dimension in _dimensions(choice):
        key = dimension.name.removeprefix(f"{choice.name}.")
        value: Any = ALL if dimension.name.endswith("@tier") else getattr(made, key, None)
        if dimension.range is not None and not dimension.range.whole and isinstance(value, int):
            value = float(value)
        if value not in dimension:
            return None
        point[dimension.name] = value
    fixed = {key: value for key, value in choice.settings.items() if not isinstance(value, Range | list)}
    if any(getattr(made, key, None) != value for key, value in fixed.items()):
        return None
    return point


def read_space(path: Path) -> Space:
    """Return the space that a TOML file declares, which may come from anybody.

    Raises:
        InputError: it cannot be read, or declares something that cannot be chosen.
    """
    return space_of(load_toml(path, "space"), f"space '{path}'")


def parse_space(text: str, source: str) -> Space:
    """Return the space that a TOML text declares; ``source`` says in errors where it is from. Errors as `read_space`.

    Raises:
        InputError: see `read_space`.
    """
    try:
        return space_of(parse_toml(text), source)
    except ValueError as error:
        raise InputError(f"{source} is no TOML: {error}") from None


def space_document(space: Space) -> dict[str, object]:
    """Return a space as the tables of a TOML file, from which `space_of` makes it again."""
    choices = [choice.model_dump(mode="json") for choices in space.slots.values() for choice in choices]
    return {"defense": choices, "train": {key: list(values) for key, values in space.train.items()}}


def space_of(values: Mapping[str, object], source: str) -> Space:
    """Return the space that the tables of a TOML file declare; ``source`` says in errors where they are from.

    Raises:
        InputError: something in it cannot be chosen.
    """
    for key in values:
        if key not in _SpaceFile.model_fields:
            raise unknown_name(f"table in {source}:", key, _SpaceFile.model_fields)
    try:
        file = _SpaceFile.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{source} is refused: {first_fault(error)}") from None
    slots: dict[str, list[DefenseChoice]] = {}
    for choice in file.defense:
        _require_defense(choice, source)
        slots.setdefault(choice.slot, []).append(choice)
    names = [choice.name for choice in file.defense]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{source} names defense '{name}' twice: give one of them all its settings")
    train = as_fields(file.train, source, CHOOSABLE)
    listed = {key: tuple(value) if isinstance(value, list) else (value,) for key, value in train.items()}
    for condition in listed.get(TIERS, ()):
        tiers_of(str(condition), [1])
    space = Space(slots=slots, train=listed)
    if not space.slots and not space.train:
        raise InputError(f"{source} has nothing to choose: expected [[defense]] tables or [train]")
    return space


def _require_defense(choice: DefenseChoice, source: str) -> None:
    """Refuse a defense that is not installed, and settings that it has not or refuses."""
    try:
        if is_object_path("defense", choice.name):
            raise InputError("a space names installed defenses only: register it, or pass it to `train`")
        if parse("defense", choice.name).settings:
            raise InputError(f"'{choice.name}' has settings in its name: put them into settings")
        if NONE in choice.name.split(":"):
            raise InputError(f"'{NONE}' is no defense: every slot may be left empty")
        for ends in _ends(choice):
            make_defense(defense_text(choice, ends))
        for condition in choice.tiers:
            if condition != ALL:
                DefenseRule.parse(f"tier{condition}")
    except InputError as error:
        raise InputError(f"{source}, defense '{choice.name}': {error}") from None


def _ends(choice: DefenseChoice) -> list[Point]:
    """Return points at both ends of everything, so that values that are refused are refused at once."""
    low: dict[str, Value] = {}
    high: dict[str, Value] = {}
    for one in _dimensions(choice):
        low[one.name], high[one.name] = (
            (one.values[0], one.values[-1]) if one.range is None else (one.range.low, one.range.high)
        )
    return [low, high]


def in_words(space: Space) -> list[str]:
    """Return lines that say what there is to choose."""
    lines = []
    for slot, choices in space.slots.items():
        lines.append(f"{slot}: none, {', '.join(_in_words(choice) for choice in choices)}")
    return [*lines, *(f"{key}: {', '.join(map(shown, values))}" for key, values in space.train.items())]


def _in_words(choice: DefenseChoice) -> str:
    parts = []
    for key, value in choice.settings.items():
        if isinstance(value, Range):
            parts.append(f"{key} {value.low:g}-{value.high:g}")
        else:
            parts.append(f"{key} {'|'.join(map(str, value)) if isinstance(value, list) else value}")
    if choice.tiers != [ALL]:
        parts.append(f"tiers {'|'.join(choice.tiers)}")
    return f"{choice.name} ({', '.join(parts)})" if parts else choice.name
