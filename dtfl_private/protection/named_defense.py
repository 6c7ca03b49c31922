"""From ``NAME[:key=value,...][@RULE]`` to a defense."""

from dtfl_private.errors import InputError, shortened
from dtfl_private.plugins.own_objects import NOTHING_ALLOWED, Allowed
from dtfl_private.plugins.registry import create
from dtfl_private.plugins.specification import without_rule
from dtfl_private.protection.base import Defense
from dtfl_private.protection.conditional import Conditional
from dtfl_private.protection.defense_rule import DefenseRule


def make_defense(text: str, *, allowed: Allowed = NOTHING_ALLOWED) -> Defense:
    """Build the defense that a text names, with its rule if it has one.

    Args:
        text: the user's specification.
        allowed: what it may name by its module; see `dtfl_private.plugins.registry.create`.

    Raises:
        InputError: no such defense, a setting that it refuses, a rule that is not understood, or one for a defense that
            takes none.
    """
    spec, rule = without_rule("defense", text)
    defense: Defense = create("defense", spec, allowed=allowed)
    if not rule:
        return defense
    if not isinstance(defense, Defense):
        raise InputError(f"defense '{shortened(spec)}' is a {type(defense).__name__}, which takes no rule")
    return Conditional(defense=defense, rule=DefenseRule.parse(rule[1:]))
