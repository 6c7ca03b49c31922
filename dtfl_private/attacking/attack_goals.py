"""What attacks are after, in words."""

from collections.abc import Mapping

from dtfl_private.attacking.base import (
    Attack,
    AttributeInference,
    LabelInference,
    MembershipInference,
    Reconstruction,
    TokenReconstruction,
)

GOALS: Mapping[type[Attack], str] = {
    Reconstruction: "the images",
    TokenReconstruction: "the texts, token by token",
    MembershipInference: "whether a record was trained on",
    AttributeInference: "a property of images or texts",
    LabelInference: "true labels that are protected or not sent",
}


def aim_of(attack: type[Attack]) -> type[Attack] | None:
    """Return the base class of attacks that are after the same; None of what is after something else."""
    return next((base for base in GOALS if issubclass(attack, base)), None)


def goal_of(attack: type[Attack]) -> str:
    """Return what an attack is after, in words."""
    aim = aim_of(attack)
    return "unknown" if aim is None else GOALS[aim]
