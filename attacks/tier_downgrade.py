"""A malicious server puts clients in the shallowest tier, whose smashed data show most, and reconstructs from there."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from dtfl_private.attacking.base import AttackFacts, Tampering
from dtfl_private.attacking.view import View
from dtfl_private.attacks.hybrid import Hybrid


@dataclass(frozen=True, kw_only=True)
class TierDowngrade(Hybrid):
    """Name tier 1 whatever the scheduler says, send the honest weights of that tier, then use `hybrid` on what comes.

    In DTFL (Sajjadi Mohammadabadi et al. 2023, 2312.05642) the server alone chooses each client's tier, so that a
    client cannot tell this from honest scheduling: only a floor of its own stops it (defense ``tier-floor``).

    Attributes:
        named: the tier that the server names, in client modules.
    """

    facts: ClassVar[AttackFacts] = AttackFacts(
        needs=frozenset({"architecture", "client-weights", "smashed", "auxiliary-data", "chooses-tier"}),
        recipe="name the shallowest tier, then hybrid",
        per_tier=False,
    )

    named: Annotated[int, Field(ge=1)] = 1

    def tamper(self, view: View) -> Tampering:
        """Return the shallow tier with its honest weights."""
        return Tampering(tier=self.named, weights={})
