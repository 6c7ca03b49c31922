"""What a run, an attack or an audit takes for granted and this simulator does not provide: declared, never shown.

An assumption takes something away from every adversary. Whatever is measured under it is said to be so.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from dtfl_private.protocol.adversaries import Capability

AssumptionName = Literal["secure-aggregation"]


@dataclass(frozen=True, kw_only=True)
class Assumption:
    """Something that is assumed of a federation.

    Attributes:
        name: as users write it.
        takes: what no adversary has under it, although the method shows it.
        instead: what an attack that needs it may be mounted on.
        sentence: what is assumed, in words, and that it is not shown.
        plainly: the same for everybody, on top of a report.
    """

    name: AssumptionName
    takes: Capability
    instead: Capability
    sentence: str
    plainly: str


ASSUMPTIONS: Mapping[AssumptionName, Assumption] = {
    one.name: one
    for one in (
        Assumption(
            name="secure-aggregation",
            takes="updates",
            instead="aggregate",
            sentence="secure aggregation is assumed, not shown: the server is taken to see only the sum of the weight "
            "updates of a round's participants, none by itself; whatever else is sent is seen client by client",
            plainly="This is for a server that sees only the sum of what all clients have learnt, and no client's own. "
            "That is assumed, not shown.",
        ),
    )
}


def taken_away(assumed: Iterable[AssumptionName]) -> frozenset[Capability]:
    """Return what no adversary has under these assumptions."""
    return frozenset(ASSUMPTIONS[name].takes for name in assumed)


def instead_of(needs: frozenset[Capability], taken: frozenset[Capability]) -> frozenset[Capability]:
    """Return what an attack needs if it is mounted on what is left of what was taken away."""
    swaps = {one.takes: one.instead for one in ASSUMPTIONS.values() if one.takes in taken}
    return frozenset(swaps.get(need, need) for need in needs)


def sentences_of(assumed: Iterable[AssumptionName]) -> list[str]:
    """Return what is assumed, in sentences."""
    return [ASSUMPTIONS[name].sentence for name in assumed]
