"""Points of a space as configurations, and the points that a search begins with."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dtfl_private.choosing.defense_choice import ALL, NONE, Point, default_point, defense_texts
from dtfl_private.choosing.limits import tiers_of
from dtfl_private.choosing.space import TIERS, Space
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.field_kinds import NOTHING
from dtfl_private.experiments.config.train_config import TrainConfig, make_config
from dtfl_private.protection.defense_rule import Case, DefenseRule


@dataclass(frozen=True, kw_only=True)
class Base:
    """The configuration that a search changes.

    Attributes:
        config: as the user has it.
        tiers: that its clients may be in, ascending.
    """

    config: TrainConfig
    tiers: Sequence[int]

    @property
    def undefended(self) -> bool:
        """Whether it has no defense of its own, so that it is itself a point of the space."""
        return not self.config.defense


def within(space: Space, base: Base) -> Space:
    """Return a space whose choices of the configuration's keys have those of the base first, and no empty tiers.

    Raises:
        InputError: a value that the configuration refuses, or a condition that leaves no tier.
    """
    train = {}
    for key, values in space.train.items():
        own = ALL if key == TIERS else getattr(base.config, key)
        own = NOTHING if own is None else own
        for value in values:
            if key != TIERS:
                make_config({**base.config.model_dump(), key: value}, "space", allowed=base.config.allowed)
            elif not tiers_of(str(value), base.tiers):
                raise InputError(f"tiers '{value}' of the space leave none of the tiers {_listed(base.tiers)}")
        train[key] = tuple(dict.fromkeys((own, *values)))
    return replace(space, train=train)


def _listed(tiers: Sequence[int]) -> str:
    return ", ".join(map(str, tiers))


def config_of(space: Space, point: Point, base: Base) -> TrainConfig:
    """Return the configuration of a point: the base with other defenses, and other values of some keys.

    Raises:
        InputError: it is refused.
    """
    changes: dict[str, object] = {key: point[f"train.{key}"] for key in space.train if key != TIERS}
    defenses = [text for choice in space.defenses_of(point) for text in defense_texts(choice, point)]
    if space.slots:
        changes["defense"] = defenses
    condition = str(point.get(f"train.{TIERS}", ALL))
    if condition != ALL:
        changes |= {"allowed_tiers": list(tiers_of(condition, base.tiers)), "leakage_budget": None}
    return make_config({**base.config.model_dump(), **changes}, "space", allowed=base.config.allowed)


def acts_somewhere(space: Space, point: Point, base: Base) -> bool:
    """Whether every defense of a point acts at some tier that the point leaves; otherwise its run is refused.

    Where the point leaves tiers as they are this is for the run to say: another method may have others.
    """
    condition = str(point.get(f"train.{TIERS}", ALL))
    if condition == ALL:
        return True
    left = tiers_of(condition, base.tiers)
    conditions = [one for choice in space.defenses_of(point) for one in choice.conditions(point) if one != ALL]
    rules = [DefenseRule.parse(f"tier{one}") for one in conditions]
    return all(any(rule.holds(Case(tier=tier, profile=rule.profile or "")) for tier in left) for rule in rules)


def first_points(space: Space) -> tuple[list[Point], list[str]]:
    """Return the points that a search begins with, and why some are not among them.

    First that without a defense, and the configuration's own values of all else; then each defense by itself, as it is
    where nothing is said of its strength.
    """
    untouched = {**dict.fromkeys(space.slots, NONE), **{f"train.{key}": own[0] for key, own in space.train.items()}}
    points: list[Point] = [untouched]
    left_out = []
    for slot, choices in space.slots.items():
        for choice in choices:
            own = default_point(choice)
            if own is None:
                left_out.append(f"{choice.name} as it is by default is not in the space, or has no default strength")
            else:
                points.append({**untouched, slot: choice.name, **own})
    return points, left_out


def without_defenses(space: Space, point: Point, names: Sequence[str]) -> Point:
    """Return a point without some of its defenses."""
    gone = [choice for choice in space.defenses_of(point) if choice.name in names]
    kept = {key: value for key, value in point.items() if not any(_is_of(key, choice.name) for choice in gone)}
    return {**kept, **{choice.slot: NONE for choice in gone}}


def _is_of(key: str, name: str) -> bool:
    return key.startswith((f"{name}.", f"{name}@"))
