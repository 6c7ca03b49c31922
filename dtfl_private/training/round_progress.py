"""What a round tells of how far it is."""

from typing import Protocol

from dtfl_private.simulation.round_plan import RoundPlan


class RoundProgress(Protocol):
    """Hears how a round proceeds."""

    def round_planned(self, plan: RoundPlan) -> None:
        """Called when a round is scheduled."""

    def client_trained(self, client: int) -> None:
        """Called when a client's part of a round is done."""
