"""Who takes part in a round."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from dtfl_private.protocol.contracts import IntArray
from dtfl_private.randomness import stream
from dtfl_private.simulation.estimates import (
    History,
)

if TYPE_CHECKING:  # it holds a selection
    from dtfl_private.simulation.schedule import ScheduleSettings


class Selection(Protocol):
    """Which of the clients that are there take part in a round."""

    def choose(
        self, present: IntArray, count: int, history: History, settings: "ScheduleSettings", round_number: int
    ) -> IntArray:
        """Return the ids of about ``count`` participants, at least one, out of ``present`` (not empty)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Uniform:
    """Every present client is as likely as any other."""

    def choose(
        self, present: IntArray, count: int, history: History, settings: "ScheduleSettings", round_number: int
    ) -> IntArray:
        """Return a sample without replacement."""
        if count == len(present):
            return present
        return stream(settings.seed, "sample", round_number).permutation(present)[:count]
