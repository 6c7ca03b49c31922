"""Defenses as tables in a CONFIG.toml, for those who would rather not write ``NAME[:key=value,...]@RULE``.

[[defense]]
name = "gaussian-noise"
sd = {1 = 8.0, 2-3 = 4.0}      # a strength for each tier: in all others it does not act

[[defense]]
name = "label-rr"
epsilon = 2.0
tier = "<=2"                   # also 3, "2-4", ">=4"
profile = "phone"
"""

from collections.abc import Mapping

from dtfl_private.errors import InputError
from dtfl_private.printable import shown_value

NAME, TIER, PROFILE = "name", "tier", "profile"


def as_texts(value: object) -> object:
    """Return defenses as `TrainConfig.defense` takes them, where some are tables; what is no list stays as it is.

    Raises:
        InputError: a table without a name, or with something else that no specification can say.
    """
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list | tuple):
        return value
    return [text for one in value for text in (_specifications(one) if isinstance(one, Mapping) else [one])]


def _specifications(table: Mapping[str, object]) -> list[str]:
    """Return what a table says: one specification, or one for each case of a schedule."""
    name = table.get(NAME)
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"a defense has no name in its table {shown_value(dict(table))}: give it, as name = ...")
    settings = {str(key): value for key, value in table.items() if key not in (NAME, TIER, PROFILE)}
    schedules = {key: value for key, value in settings.items() if isinstance(value, Mapping)}
    if not schedules:
        return [_specification(name, settings, table.get(TIER), table.get(PROFILE))]
    if TIER in table:
        raise InputError(f"defense '{name}': {', '.join(schedules)} names tiers of its own: leave tier out")
    tiers = {tuple(map(str, value)) for value in schedules.values()}
    if len(tiers) > 1 or () in tiers:
        raise InputError(
            f"defense '{name}': {' and '.join(schedules)} must have values for the same tiers, one at least"
        )
    (cases,) = tiers
    return [
        _specification(
            name,
            {key: _in_case(value, case) if key in schedules else value for key, value in settings.items()},
            case,
            table.get(PROFILE),
        )
        for case in cases
    ]


def _in_case(schedule: object, case: str) -> object:
    assert isinstance(schedule, Mapping)
    return next(value for key, value in schedule.items() if str(key) == case)


def _specification(name: str, settings: Mapping[str, object], tier: object, profile: object) -> str:
    written = ",".join(f"{key}={_plain(name, key, value)}" for key, value in settings.items())
    conditions = [] if tier is None else [_tier(name, tier)]
    conditions += [] if profile is None else [f"profile={_plain(name, PROFILE, profile, but='')}"]
    rule = "@" + "&".join(conditions) if conditions else ""
    return (f"{name}:{written}" if written else name) + rule


def _tier(name: str, value: object) -> str:
    """Return a condition on the tier: ``<=2`` as it is, ``3`` and ``2-4`` with the sign that they have in a rule."""
    text = _plain(name, TIER, value).strip()
    return f"tier{text}" if text.startswith(("<", ">", "=")) else f"tier={text}"


def _plain(name: str, key: str, value: object, but: str = ",@") -> str:
    """Return a value as it is written in a specification."""
    if isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, str) and value.strip() and not any(sign in value for sign in but):
        return value
    raise InputError(
        f"defense '{name}': {key} = {shown_value(value)} is refused: expected a number, true, false or a name"
    )
