"""Refuse tiers that are too shallow: the client's guard against tier downgrade."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.protection.client_context import ClientRound, Remark
from dtfl_private.protocol.messages import ModelDownload


@dataclass(frozen=True)
class TierFloor(Defense):
    """Never accept fewer than ``modules`` client modules (tier m = the client holds m modules).

    An honest scheduler is told so and names deeper tiers only. A server that offers less all the same is refused by the
    client, which takes no part in that round.
    """

    facts: ClassVar[DefenseFacts] = DefenseFacts(
        protects="smashed data of shallow tiers, by never making them",
        acts_on=("download",),
        guarantee="none",
        cost="weak devices have to train more modules",
        attacker="nothing",
    )

    modules: Annotated[int, Field(ge=1)] = 2

    @property
    def tier_floor(self) -> int:
        """Fewest client modules that are accepted."""
        return self.modules

    def inspect(self, download: ModelDownload, at: ClientRound) -> Sequence[Remark]:
        """Refuse a download of fewer modules."""
        if download.tier >= self.modules:
            return ()
        return (Remark(text=f"tier {download.tier} is below the floor of {self.modules} modules", refuses=True),)
