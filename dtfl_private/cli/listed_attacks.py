"""The attacks that ``list attacks`` shows."""

from dtfl_private.attacking.attack_goals import goal_of
from dtfl_private.attacking.base import Attack
from dtfl_private.plugins.descriptions import described
from dtfl_private.plugins.installed import find
from dtfl_private.report.tables.attacks import ListedAttack


def listed_attacks() -> list[ListedAttack]:
    """Return every attack that is installed, by name."""
    return [_listed(name, settings, summary) for name, settings, summary in described("attack")]


def _listed(name: str, settings: str, summary: str) -> ListedAttack:
    attack: type[Attack] = find("attack", name).load()
    return ListedAttack(
        name=name,
        settings=settings,
        summary=summary,
        goal=goal_of(attack),
        needs=tuple(attack.facts.needs),
        source=attack.facts.source,
    )
