"""A defense that a search may choose: over which strengths, and where it may act.

It acts at all tiers, at those of one condition, or with a strength of its own under each of several conditions, as
"strong up to tier 2 and weaker from tier 3 on".
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dtfl_private.errors import InputError
from dtfl_private.plugins.registry import create
from dtfl_private.plugins.specification import is_object_path, parse
from dtfl_private.protection.defense_rule import DefenseRule
from dtfl_private.protection.named_defense import make_defense

Value = bool | int | float | str
Point = Mapping[str, Value]

NONE = "none"
ALL = "all"
MOST_VALUES = 200
# Between the conditions of one choice, in points.
JOINT = " / "

Name = Annotated[str, Field(min_length=1, max_length=1000)]
Text = Annotated[str, Field(max_length=1000)]
Number = Annotated[int | Annotated[float, Field(allow_inf_nan=False)], Field(ge=-1e12, le=1e12)]
Plain = bool | Number | Text


class StrictTable(BaseModel):
    """A table of a space file: no other keys, no other types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Range(StrictTable):
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
Where = Name | Annotated[list[Name], Field(min_length=2, max_length=20)]


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


def _everywhere() -> list[str | list[str]]:
    return [ALL]


class DefenseChoice(StrictTable):
    """A defense that may be chosen.

    Attributes:
        name: of an installed defense.
        slot: of which one defense is taken.
        settings: by name: a range, values to choose from, or one value.
        tiers: where it may act: ``all``, a condition, or several conditions with strengths of their own.
    """

    name: Name
    slot: Annotated[str, Field(min_length=1, max_length=50, pattern=r"^[a-z][a-z0-9-]*$")] = "activations"
    settings: Annotated[dict[Name, Range | Values | Plain], Field(max_length=50)] = Field(default_factory=dict)
    tiers: Annotated[list[Where], Field(min_length=1, max_length=50)] = Field(default_factory=_everywhere)

    @property
    def places(self) -> dict[str, tuple[str, ...]]:
        """Where it may act, as points have it, with the conditions of each."""
        listed = [(one,) if isinstance(one, str) else tuple(one) for one in self.tiers]
        return {JOINT.join(conditions): conditions for conditions in listed}

    @property
    def place(self) -> str:
        """The dimension of where it acts."""
        return f"{self.name}@tier"

    def conditions(self, point: Point) -> tuple[str, ...]:
        """Return the conditions under which it acts in a point; none while that is still to be chosen."""
        places = self.places
        only = next(iter(places)) if len(places) == 1 else ""
        return places.get(str(point.get(self.place, only)), ())

    def dimensions(self, point: Point) -> list[Dimension]:
        """Return where it acts, if that is open, and as far as that is known the strengths that it has there."""
        where = [Dimension(name=self.place, values=tuple(self.places))] if len(self.places) > 1 else []
        conditions = enumerate(self.conditions(point))
        return [*where, *(each for number, condition in conditions for each in self._strengths(number, condition))]

    def _strengths(self, number: int, condition: str) -> list[Dimension]:
        """Return its settings that are not fixed, under one of its conditions."""
        found = []
        for key, value in self.settings.items():
            name = self.strength(key, number, condition)
            if isinstance(value, Range):
                found.append(Dimension(name=name, range=value))
            elif isinstance(value, list):
                found.append(Dimension(name=name, values=tuple(value)))
        return found

    def strength(self, key: str, number: int, condition: str) -> str:
        """Return the dimension of a setting; under a first condition it is the same wherever the defense acts."""
        return f"{self.name}.{key}" if number == 0 else f"{self.name}.{key}@tier{condition}"

    @property
    def size(self) -> int | None:
        """How many points it has; None where some range has more numbers than can be tried."""
        if any(isinstance(value, Range) for value in self.settings.values()):
            return None
        each: int = math.prod(len(value) for value in self.settings.values() if isinstance(value, list))
        return sum(int(each ** len(conditions)) for conditions in self.places.values())


def defense_texts(choice: DefenseChoice, point: Point) -> list[str]:
    """Return a chosen defense as a configuration names it, once for each of its conditions.

    Each is NAME[:key=value,...][@tierCONDITION].
    """
    return [_text(choice, point, *numbered) for numbered in enumerate(choice.conditions(point))]


def _text(choice: DefenseChoice, point: Point, number: int, condition: str) -> str:
    settings = {}
    for key, value in choice.settings.items():
        fixed = value if not isinstance(value, Range | list) else None
        chosen = point.get(choice.strength(key, number, condition), fixed)
        settings[key] = f"{chosen:.4g}" if isinstance(chosen, float) else str(chosen)
    said = ",".join(f"{key}={value}" for key, value in settings.items())
    text = f"{choice.name}:{said}" if said else choice.name
    return text if condition == ALL else f"{text}@tier{condition}"


def default_point(choice: DefenseChoice) -> Point | None:
    """Return the strengths that a defense has if nothing is said of them; None where they are not in the space."""
    made = create("defense", choice.name)
    if len(choice.places) > 1 and ALL not in choice.places:
        return None
    point: dict[str, Value] = {choice.place: ALL} if len(choice.places) > 1 else {}
    for dimension in choice.dimensions(point):
        if dimension.name in point:
            continue
        key = dimension.name.removeprefix(f"{choice.name}.").partition("@")[0]
        value: Any = getattr(made, key, None)
        if dimension.range is not None and not dimension.range.whole and isinstance(value, int):
            value = float(value)
        if value not in dimension:
            return None
        point[dimension.name] = value
    fixed = {key: value for key, value in choice.settings.items() if not isinstance(value, Range | list)}
    if any(getattr(made, key, None) != value for key, value in fixed.items()):
        return None
    return point


def require_defense(choice: DefenseChoice, source: str) -> None:
    """Refuse a defense that is not installed, settings that it has not or refuses, and rules that say nothing.

    Raises:
        InputError: in one line, with ``source``.
    """
    try:
        if is_object_path("defense", choice.name):
            raise InputError("a space names installed defenses only: register it, or pass it to `train`")
        if parse("defense", choice.name).settings:
            raise InputError(f"'{choice.name}' has settings in its name: put them into settings")
        if NONE in choice.name.split(":"):
            raise InputError(f"'{NONE}' is no defense: every slot may be left empty")
        for conditions in choice.places.values():
            _require_rules(conditions)
        for ends in _ends(choice):
            for text in defense_texts(choice, ends):
                make_defense(text)
    except InputError as error:
        raise InputError(f"{source}, defense '{choice.name}': {error}") from None


def _require_rules(conditions: Sequence[str]) -> None:
    if conditions == (ALL,):
        return
    rules = [DefenseRule.parse(f"tier{condition}") for condition in conditions]
    for one, other in combinations(rules, 2):
        if one.overlaps(other):
            raise InputError(f"'{one}' and '{other}' are given strengths of their own, and may hold at one client")


def _ends(choice: DefenseChoice) -> list[Point]:
    """Return points at both ends of everything, wherever it acts, so that values that are refused are so at once."""
    return [_end(choice, {choice.place: place}, last=last) for place in choice.places for last in (False, True)]


def _end(choice: DefenseChoice, point: Point, *, last: bool) -> Point:
    found = dict(point)
    for one in choice.dimensions(point):
        if one.name not in found:
            ends = one.values if one.range is None else (one.range.low, one.range.high)
            found[one.name] = ends[-1 if last else 0]
    return found


def choice_in_words(choice: DefenseChoice) -> str:
    """Return what there is to choose of a defense."""
    parts = []
    for key, value in choice.settings.items():
        if isinstance(value, Range):
            parts.append(f"{key} {value.low:g}-{value.high:g}")
        else:
            parts.append(f"{key} {'|'.join(map(str, value)) if isinstance(value, list) else value}")
    if choice.tiers != [ALL]:
        parts.append(f"tiers {'|'.join(choice.places)}")
    return f"{choice.name} ({', '.join(parts)})" if parts else choice.name
