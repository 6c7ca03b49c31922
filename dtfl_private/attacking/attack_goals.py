"""What attacks are after, in words."""

from collections.abc import Mapping

from dtfl_private.attacking.base import (
    Attack,
    AttributeInference,
    LabelInference,
    MembershipInference,
    Reconstruction,
)

GOALS: Mapping[type[Attack], str] = {
    Reconstruction: "the images",
    MembershipInference: "whether a record was trained on",
    AttributeInference: "a property of the images",
    LabelInference: "true labels behind protected ones",
}


def goal_of(attack: type[Attack]) -> str:
    """Return what an attack is after, in words."""
    return next((words for base, words in GOALS.items() if issubclass(attack, base)), "unknown")
