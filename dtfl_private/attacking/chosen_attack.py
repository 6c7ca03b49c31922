"""An attack as it will be run: the object, how a user would write it, and who attacks."""

from dataclasses import dataclass, replace
from functools import lru_cache

from pydantic import TypeAdapter, ValidationError

from dtfl_private.attacking.base import Attack, name_of
from dtfl_private.errors import InputError
from dtfl_private.leakage.results.result import SettingValue
from dtfl_private.plugins.registry import create
from dtfl_private.plugins.settings import explicit
from dtfl_private.plugins.specification import named_object, parse
from dtfl_private.protocol.adversaries import ADVERSARIES, Adversary, AuxiliaryKind, Capability, find_adversary, require


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """An attack as it will be run: the object, how a user would write it, and who attacks.

    ``aggregate``: on the sum of the round's weight updates in place of each client's.
    """

    attack: Attack
    text: str
    adversary: Adversary
    aggregate: bool = False

    @property
    def name(self) -> str:
        """Its name as users write it."""
        return name_of(self.attack)

    @property
    def settings(self) -> dict[str, SettingValue]:
        """Its settings, by name; of an object passed from Python those that can be written down."""
        simple = {name: value for name, value in vars(self.attack).items() if name != "adaptive"}
        return {name: value for name, value in simple.items() if isinstance(value, bool | int | float | str | None)}


def make_attack(item: Attack | str, effort: float = 1.0) -> tuple[Attack, str]:
    """Return an attack, and how a user would write it.

    Args:
        item: as an object, or as the user wrote it.
        effort: of an attack that is given none of its own.
    """
    if isinstance(item, str):
        item = _with_effort(item, effort)
        allowed = named_object("attack", item)  # attacks are named by the user, never by a file
        attack, text = create("attack", item, allowed=allowed), explicit("attack", item, allowed=allowed)
    else:
        attack = replace(item, effort=effort) if isinstance(item, Attack) and item.effort == 1 else item
        text = f"object:{attack!r}"
    if not isinstance(attack, Attack):
        raise InputError(f"attack '{text}' is a {type(attack).__name__}, expected an Attack")
    _validate(attack)
    return attack, text


def _with_effort(text: str, effort: float) -> str:
    """Return a specification with an effort, unless it has one or this one is the normal."""
    settings = parse("attack", text).settings
    if effort == 1 or "effort" in settings:
        return text
    return f"{text}{',' if settings else ':'}effort={effort}"


def choose_adversary(
    attack: Attack,
    name: str | None,
    knows: AuxiliaryKind,
    hidden: frozenset[Capability] = frozenset(),
    needs: frozenset[Capability] | None = None,
) -> Adversary:
    """Return who mounts an attack: the adversary of this name, or else the weakest that can.

    Args:
        attack: that is mounted.
        name: of the adversary; None to choose it.
        knows: its auxiliary knowledge.
        hidden: what nobody has in the run's training method, or under what is assumed.
        needs: of the attack as it will be mounted, if not as its facts say.

    Raises:
        InputError: there is no such adversary, or it lacks what the attack needs.
    """
    needs = attack.facts.needs if needs is None else needs
    there = [adversary.without(hidden) for adversary in ADVERSARIES.values()]
    if name is not None:
        named = find_adversary(name).without(hidden)
        require(needs, named, knows, name_of(attack))
        return named
    able = [other for other in there if needs <= other.knowing(knows)]
    if not able:
        require(needs, ADVERSARIES["server-malicious"], knows, name_of(attack))
    # Those who see less are better evidence.
    return min(able, key=lambda other: len(other.has))


def _validate(attack: Attack) -> None:
    """Check an object's settings as those from the command line are."""
    try:
        _settings_of(type(attack)).validate_python({**vars(attack)})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"attack '{name_of(attack)}': {where}={first['input']} is refused: {first['msg']}") from None


@lru_cache(maxsize=64)
def _settings_of(kind: type[Attack]) -> TypeAdapter[Attack]:
    """Return what checks settings of this kind of attack; it takes milliseconds to make."""
    return TypeAdapter(kind)
