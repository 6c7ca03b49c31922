"""The ladder: our own attacks that an attack from outside is set against, on the same victims."""

from collections.abc import Collection, Mapping, Sequence

from dtfl_private.attacking.base import (
    Attack,
    AttributeInference,
    LabelInference,
    MembershipInference,
    Reconstruction,
)

LADDER: Mapping[type[Attack], Sequence[str]] = {
    Reconstruction: ("decoder", "hybrid", "unshuffle"),
    MembershipInference: ("membership-matching", "lira"),
    AttributeInference: ("attribute-inference", "update-attributes"),
    LabelInference: ("label-inference", "label-clustering"),
}
"""By what they are after; those that cannot run on a run are left out."""


def rungs_for(attacks: Sequence[Attack], named: Collection[str]) -> list[str]:
    """Return the attacks of the ladder that are after the same as some attacks, but for those already named."""
    found = [
        rung for goal, rungs in LADDER.items() for rung in rungs if any(isinstance(attack, goal) for attack in attacks)
    ]
    return [rung for rung in found if rung not in named]
