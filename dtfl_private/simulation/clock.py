"""The virtual clock: simulated seconds since the start of a run."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class VirtualClock:
    """A moment of simulated time. It depends on configuration and seed, never on the host's speed."""

    now_s: float = 0.0

    def advance(self, duration_s: float) -> "VirtualClock":
        """Return the clock ``duration_s`` seconds later; time never runs back."""
        if not (math.isfinite(duration_s) and duration_s >= 0):
            raise ValueError(f"the virtual clock cannot advance by {duration_s} s")
        return VirtualClock(now_s=self.now_s + duration_s)
