"""How far rounds get for the depth of their tiers: what the server learns of it from the training loss, online."""

import math
from dataclasses import dataclass, fields

import numpy as np

from dtfl_private.protocol.contracts import FloatArray, IntArray

MEMORY = 0.95
"""Weight that an earlier round keeps when a later one comes: about twenty rounds count."""


@dataclass(frozen=True, kw_only=True)
class DepthProgress:
    """Weighted sums over pairs of successive rounds, of their mean depth and of their progress.

    The progress is the drop of the logarithm of the training loss. A round's loss is a mean over its batches, so that
    the drop between two rounds is made in the later half of the one and in the earlier half of the other: its depth
    is the mean of both rounds'. ``last_depth`` and ``last_log_loss`` are NaN before the first round with a loss.
    """

    weight: float = 0.0
    depth: float = 0.0
    gain: float = 0.0
    depth_squared: float = 0.0
    depth_times_gain: float = 0.0
    last_depth: float = math.nan
    last_log_loss: float = math.nan

    def learn(self, depth: float, loss: float | None) -> "DepthProgress":
        """Return the sums after a round of this mean depth (0 to 1) and training loss; None if nobody finished it."""
        if loss is None or not 0 < loss < math.inf:
            return self
        log_loss = math.log(loss)
        sums = np.array([self.weight, self.depth, self.gain, self.depth_squared, self.depth_times_gain])
        if not math.isnan(self.last_log_loss):
            x, y = (self.last_depth + depth) / 2, self.last_log_loss - log_loss
            sums = MEMORY * sums + np.array([1.0, x, y, x * x, x * y])
        return DepthProgress.of(np.array([*sums, depth, log_loss]))

    def evidence(self) -> tuple[float, float]:
        """Return `RoundEstimates.depth_spread` and ``depth_gain``; both 0 while the loss does not fall."""
        if self.weight == 0 or self.gain <= 0:
            return 0.0, 0.0
        mean_gain = self.gain / self.weight
        spread = max(0.0, self.depth_squared - self.depth**2 / self.weight)
        return spread, (self.depth_times_gain - self.depth * mean_gain) / mean_gain

    @classmethod
    def of(cls, values: FloatArray) -> "DepthProgress":
        """Return the progress of which ``values`` is the array."""
        return cls(**{field.name: float(value) for field, value in zip(fields(cls), values, strict=True)})

    def array(self) -> FloatArray:
        """Return all fields as one array, for a checkpoint."""
        return np.array([getattr(self, field.name) for field in fields(self)])


def depths(tiers: int) -> FloatArray:
    """Return the depth of each of so many tiers: evenly from 0, the shallowest, to 1, the deepest."""
    return np.linspace(0.0, 1.0, tiers) if tiers > 1 else np.ones(1)


def mean_depth(column_P: IntArray, images_P: FloatArray, tiers: int) -> float:
    """Return the mean depth of participants, weighted by the images they train on; 0 if there are none."""
    total = float(images_P.sum())
    return float((depths(tiers)[column_P] * images_P).sum() / total) if total else 0.0
