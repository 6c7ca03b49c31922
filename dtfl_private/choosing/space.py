"""The space: what a search may choose, as a TOML file declares it.

    [[defense]]                      # one of each slot is taken, or none
    name = "gaussian-noise"
    slot = "activations"             # as by default
    tiers = ["all", "<=2", ["<=2", ">=3"]]              # where it acts; a list has strengths for each of its parts
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
from typing import Annotated

from pydantic import Field, ValidationError

from dtfl_private.choosing.defense_choice import (
    NONE,
    DefenseChoice,
    Dimension,
    Name,
    Plain,
    Point,
    StrictTable,
    Value,
    Values,
    choice_in_words,
    require_defense,
)
from dtfl_private.choosing.limits import tiers_of
from dtfl_private.errors import InputError, unknown_name
from dtfl_private.experiments.config.toml_files import as_fields, load_toml
from dtfl_private.experiments.config.value_words import shown
from dtfl_private.experiments.tuning.table import TUNABLE
from dtfl_private.files.reading import parse_toml
from dtfl_private.leakage.results.result import first_fault

TIERS = "tiers"
# ``tiers`` of a space are conditions; what a run does with the network's cuts otherwise is its own. What is assumed of
# a federation protects nothing by being chosen.
NOT_CHOSEN = ("tiers", "defense", "leakage_budget", "allowed_tiers", "assume")
CHOOSABLE = (TIERS, *(key for key in TUNABLE if key not in NOT_CHOSEN))
MOST_DEFENSES = 200


class _SpaceFile(StrictTable):
    defense: Annotated[list[DefenseChoice], Field(max_length=MOST_DEFENSES)] = Field(default_factory=list)
    train: dict[Name, Values | Plain] = Field(default_factory=dict)


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
        """Return what is still to be chosen once the defenses are: where they act, and then their strengths there."""
        return [dimension for choice in self.defenses_of(point) for dimension in choice.dimensions(point)]

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
            own = [choice.size for choice in choices]
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
        require_defense(choice, source)
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


def in_words(space: Space) -> list[str]:
    """Return lines that say what there is to choose."""
    lines = []
    for slot, choices in space.slots.items():
        lines.append(f"{slot}: none, {', '.join(map(choice_in_words, choices))}")
    return [*lines, *(f"{key}: {', '.join(map(shown, values))}" for key, values in space.train.items())]
