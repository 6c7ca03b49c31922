"""The ladder: our own attacks that an attack from outside is set against, on the same victims."""

from collections.abc import Collection, Mapping, Sequence

from dtfl_private.attacking.base import (
    Attack,
    AttributeInference,
    LabelInference,
    MembershipInference,
    Reconstruction,
    TokenReconstruction,
)
from dtfl_private.training.method import Method

Ladder = Mapping[type[Attack], Sequence[str]]
"""Names of attacks by what they are after; those that cannot run on a run are left out."""

LADDER: Ladder = {
    Reconstruction: ("decoder", "optimization", "hybrid", "unshuffle"),
    TokenReconstruction: ("token-lookup", "token-inverter", "token-search"),
    MembershipInference: ("membership-matching", "lira"),
    AttributeInference: ("attribute-inference", "update-attributes", "token-occurrence"),
    LabelInference: ("label-inference", "label-clustering"),
}
"""Where clients send activations, and the server their weights."""

OF_UPDATES: Ladder = {
    Reconstruction: ("update-inversion",),
    MembershipInference: ("update-membership", "lira"),
    AttributeInference: ("update-attributes",),
    LabelInference: ("label-counts",),
}
"""Where clients send the update of a whole network alone."""

WITHOUT_WEIGHTS: Ladder = {Reconstruction: ("surrogate",), MembershipInference: ("membership-surrogate",)}
"""Where nobody else has the clients' weights."""

OF_REPLIES: Ladder = {LabelInference: ("gradient-labels",)}
"""In addition, where the server returns gradients."""


OF_TAILS: Ladder = {LabelInference: ("label-matching",)}
"""In addition, where clients keep the last modules, and return gradients."""


def ladder_of(method: Method, *, whole: bool) -> Ladder:
    """Return the ladder by what a training method shows.

    Args:
        method: of the run.
        whole: in a tier of it clients send the update of a whole network alone.
    """
    if not method.cuts:
        return OF_UPDATES
    ladder = WITHOUT_WEIGHTS if "client-weights" in method.hides else LADDER
    if "replies" not in method.hides:
        ladder = _with(ladder, OF_REPLIES)
    if "tail-gradients" not in method.hides:
        ladder = _with(ladder, OF_TAILS)
    # One of them can run in each tier.
    return _with(ladder, OF_UPDATES) if whole else ladder


def _with(ladder: Ladder, more: Ladder) -> Ladder:
    """Return a ladder with the attacks of another one, of the goals that it has."""
    return {goal: list(dict.fromkeys((*rungs, *more.get(goal, ())))) for goal, rungs in ladder.items()}


def rungs_for(attacks: Sequence[Attack], named: Collection[str], ladder: Ladder) -> list[str]:
    """Return the attacks of a ladder that are after the same as some attacks, but for those already named."""
    found = [
        rung for goal, rungs in ladder.items() for rung in rungs if any(isinstance(attack, goal) for attack in attacks)
    ]
    return [rung for rung in found if rung not in named]
