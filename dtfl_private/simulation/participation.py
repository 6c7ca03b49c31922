"""Who takes part in a round, and who of them drops out of it."""

import numpy as np

from dtfl_private.protocol.contracts import BoolArray, FloatArray, IntArray
from dtfl_private.randomness import stream
from dtfl_private.simulation.estimates import History
from dtfl_private.simulation.schedule_state import ScheduleSettings


def sample_participants(
    willing_K: BoolArray,
    history: History,
    settings: ScheduleSettings,
    round_number: int,
) -> IntArray:
    """Return the participants' ids, ascending, out of the clients that are there and willing; none if nobody is."""
    present = np.flatnonzero(willing_K)
    if not len(present):
        return present
    count = max(1, round(settings.fraction * len(present)))
    return np.sort(settings.selection.choose(present, count, history, settings, round_number))


def draw_dropouts(settings: ScheduleSettings, count: int, round_number: int) -> tuple[FloatArray, BoolArray]:
    """Return the share of its work that each of ``count`` participants does, and whether it then drops out."""
    if settings.environment.dropout == 0:
        return np.ones(count), np.zeros(count, dtype=np.bool_)
    rng = stream(settings.seed, "dropout", round_number)
    dropped_P = rng.random(count) < settings.environment.dropout
    return np.where(dropped_P, rng.random(count), 1.0), dropped_P
