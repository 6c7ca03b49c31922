"""Malicious servers: one that only names the shallowest tier, and one that sends a client half of its own making."""

from dataclasses import dataclass
from typing import ClassVar

from fast_attacks import SEES, LeastSquares

from dtfl_private.attacking.base import AttackFacts, Tampering


@dataclass(frozen=True, kw_only=True)
class Downgrade(LeastSquares):
    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES | {"chooses-tier"}, recipe="")

    def tamper(self, view):
        return Tampering(tier=1, weights={})


@dataclass(frozen=True, kw_only=True)
class Doubled(LeastSquares):
    """Sends all parameters of the client half doubled."""

    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES | {"chooses-weights"}, recipe="")

    def tamper(self, view):
        weights = {
            name: tensor * 2 if tensor.is_floating_point() and "running" not in name else tensor
            for name, tensor in view.download(view.tier).weights.items()
        }
        return Tampering(tier=view.tier, weights=weights)
