"""Who hears how a run proceeds: a progress display, or nobody."""

from collections.abc import Sequence
from typing import Protocol

from dtfl_private.experiments.config import TrainConfig
from dtfl_private.experiments.run_folder import RunFolder
from dtfl_private.simulation.round_plan import RoundPlan
from dtfl_private.training.record import Record
from dtfl_private.training.round import RoundSettings


class RunListener(Protocol):
    """Hears how a run proceeds, for a progress display."""

    def started(
        self, config: TrainConfig, folder: RunFolder, settings: RoundSettings, records: Sequence[Record]
    ) -> None:
        """Called before the first round, or with the rounds so far when a run is resumed."""
        ...

    def planned(self, plan: RoundPlan) -> None:
        """Called when a round is scheduled."""
        ...

    def trained(self, client: int) -> None:
        """Called when a client's part of a round is done."""
        ...

    def finished(self, record: Record) -> None:
        """Called with each finished round's record."""
        ...

    def note(self, text: str) -> None:
        """Called with a line that the user should see."""
        ...


class Silent:
    """A listener that shows nothing."""

    def started(
        self, config: TrainConfig, folder: RunFolder, settings: RoundSettings, records: Sequence[Record]
    ) -> None:
        """Do nothing."""

    def planned(self, plan: RoundPlan) -> None:
        """Do nothing."""

    def trained(self, client: int) -> None:
        """Do nothing."""

    def finished(self, record: Record) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""
