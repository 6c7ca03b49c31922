"""Settings that were chosen by trials on validation images, and what the trials reached."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class TrialOutcome:
    """What a trial reached on validation images: means over its seeds.

    Attributes:
        settings: that were tried: those keys that differ between the trials.
        accuracy: after the last round, 0..1; None if the training diverged with a seed.
        time_to_target_s: simulated seconds to the target accuracy; None if a seed never reached it.
    """

    settings: Mapping[str, Any]
    accuracy: float | None
    time_to_target_s: float | None

    @property
    def diverged(self) -> bool:
        """Whether the training came to no end with some seed."""
        return self.accuracy is None

    def as_json(self) -> dict[str, Any]:
        """Return the outcome as it stands in JSON files."""
        figures = {"accuracy": self.accuracy, "time_to_target_s": self.time_to_target_s}
        return {"settings": dict(self.settings), **figures}


@dataclass(frozen=True, kw_only=True)
class TunedSettings:
    """What the trials reached, in their order, and which of them was chosen. The first one's settings are untuned."""

    trials: Sequence[TrialOutcome]
    chosen: int

    @property
    def choice(self) -> TrialOutcome:
        """The trial that was chosen."""
        return self.trials[self.chosen]
