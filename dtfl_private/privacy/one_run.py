"""What guesses about canaries prove of a mechanism's privacy.

Steinke, Nasr and Jagielski 2023 (2305.08846), theorem 5.2.

Each of m canaries is in one of two states by a fair coin of its own. The mechanism runs once; an adversary guesses r of
the coins and is right v times. If the mechanism is (epsilon, delta) differentially private against a change of one
canary's state, then with q = e^epsilon / (1 + e^epsilon)

    P[at least v right] <= f(0) + 2 m delta max_i (f(i) - f(0)) / i,    f(i) = P[Binomial(r, q) >= v - i].

An epsilon at which that is below 5 % is refused; the largest of these is a lower bound with 95 % confidence. Here a
state is which of two records is sent, so epsilon is for replacing a record.
"""

import math
from functools import lru_cache

import numpy as np

CONFIDENCE = 0.95
# No number of canaries that can be run proves more.
MOST_EPSILON = 60.0
PRECISION = 1e-5


def guess_probability(canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """Return the bound on the probability of so many right guesses or more, if the mechanism is (epsilon, delta)-DP.

    Args:
        canaries: m.
        guesses: r; the adversary abstains from the rest.
        right: v.
        epsilon: of the mechanism.
        delta: of the mechanism.

    Raises:
        ValueError: not 0 <= v <= r <= m.
    """
    from scipy.special import bdtrc  # scipy takes a while to load

    if not 0 <= right <= guesses <= canaries:
        raise ValueError(f"{right} right of {guesses} guesses on {canaries} canaries cannot be")
    if right == 0:
        return 1.0
    chance = 1 / (1 + math.exp(-epsilon))
    reached = bdtrc(right - 1 - np.arange(right + 1), guesses, chance)
    steepest = float(((reached[1:] - reached[0]) / np.arange(1, right + 1)).max())
    return min(1.0, float(reached[0]) + 2 * canaries * delta * steepest)


@lru_cache(maxsize=10_000)  # the same few counts are asked for again and again
def epsilon_lower_bound(canaries: int, guesses: int, right: int, delta: float, confidence: float = CONFIDENCE) -> float:
    """Return the largest epsilon that so many right guesses refute with this confidence, 0 if they refute none.

    Rounded down by 1e-5 or less. See `guess_probability` for the arguments.
    """
    low, high = 0.0, MOST_EPSILON
    while high - low > PRECISION:
        middle = (low + high) / 2
        refuted = guess_probability(canaries, guesses, right, middle, delta) < 1 - confidence
        low, high = (middle, high) if refuted else (low, middle)
    return low


def epsilon_ceiling(canaries: int, delta: float, confidence: float = CONFIDENCE) -> float:
    """Return the bound that right guesses on all canaries would prove: no mechanism can be shown to be worse."""
    return epsilon_lower_bound(canaries, canaries, canaries, delta, confidence)
