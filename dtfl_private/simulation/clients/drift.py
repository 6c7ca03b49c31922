"""How clients' resources move from one profile to another: at once, bit by bit, or there and back once a day.

Half way between two profiles is the geometric mean of their speeds, as speeds are ratios; latencies go linearly.
"""

from typing import Literal

import numpy as np

from dtfl_private.protocol.contracts import FloatArray, IntArray
from dtfl_private.randomness import stream

DriftKind = Literal["jumps", "ramps", "day-night"]
"""What happens to the clients that drift.

jumps: every so many rounds some clients have a newly drawn profile at once (the paper's). ramps: the same clients draw
the same profiles, and get there in equal ratios over the rounds until the next draw. day-night: always the same clients
swing between their own profile and one drawn at the start, and back, in a period of so many rounds, each with a phase
of its own.
"""


def ramp_weight(round_number: int, every: int) -> float:
    """Return how far a ramp is in a round: 1 / every in the round of the draw, 1 in the last one before the next."""
    return ((round_number - 1) % every + 1) / every


def swinging(seed: int, clients: int, share: float, shares: FloatArray) -> tuple[IntArray, IntArray, FloatArray]:
    """Return which clients have days and nights, the profile of their nights, and their phases as shares of a period.

    Args:
        seed: of the draws.
        clients: number K of clients.
        share: of them that swing.
        shares: probability of each profile.
    """
    rng = stream(seed, "environment", "day-night")
    count = round(share * clients)
    chosen = rng.permutation(clients)[:count]
    return chosen, rng.choice(len(shares), size=count, p=shares), rng.random(count)


def swing_weights(phases: FloatArray, round_number: int, every: int) -> FloatArray:
    """Return how far clients with these phases are from their day's profile towards their night's, 0 to 1."""
    weights: FloatArray = (1 - np.cos(2 * np.pi * ((round_number - 1) / every + phases))) / 2
    return weights


def between(speeds: FloatArray, from_K: IntArray, to_K: IntArray, weight_K: FloatArray | float) -> FloatArray:
    """Return the speeds that clients have on their way from one profile to another; ``speeds`` is by profile."""
    start_K, end_K = speeds[from_K], speeds[to_K]
    there_K: FloatArray = np.where(np.equal(weight_K, 1.0), end_K, start_K * (end_K / start_K) ** weight_K)
    return there_K
