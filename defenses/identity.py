"""The defense that changes nothing: a baseline, and the shortest example of a defense."""

from dataclasses import dataclass
from typing import ClassVar

from dtfl_private.protection.base import Defense, DefenseFacts


@dataclass(frozen=True, kw_only=True)
class Identity(Defense):
    """No defense: smashed data, labels and weights leave the client as they are. No guarantee of any kind."""

    facts: ClassVar[DefenseFacts] = DefenseFacts(protects="nothing", acts_on=(), cost="none", attacker="nothing")
