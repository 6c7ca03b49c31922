"""The smallest noise that keeps a planned run within its target epsilon."""

import math
from collections.abc import Callable, Iterable

from dtfl_private.errors import InputError
from dtfl_private.privacy.accounting import rounded_up
from dtfl_private.privacy.gaussian_epsilon import composed_mu, gaussian_epsilon
from dtfl_private.privacy.sampled_gaussian_epsilon import exceeds_epsilon, precise_epsilon, rdp_epsilon
from dtfl_private.protocol.guarantees import PrivacyTarget

# Noise multipliers that are tried: less noise than the least hides nothing, with more than the most nothing is learnt.
LEAST_NOISE = 0.05
MOST_NOISE = 1000.0
DIGITS = 4
# To which the logarithm of the noise is found: an evaluation takes a while, and the last digits waste nothing.
TOLERANCE = 2e-4

# In place of an epsilon of zero, which has no logarithm.
TINY = 1e-300


def noise_for_steps(target: PrivacyTarget, plans: Iterable[tuple[float, int]]) -> float:
    """Return the smallest common noise multiplier with which no client's DP-SGD steps exceed the target epsilon.

    Epsilon is that of the tightest accountant, by which budgets are checked and final figures stated.

    Args:
        target: with an epsilon, per record added or removed.
        plans: (sampling rate, steps) of each client over the whole run.

    Raises:
        InputError: no noise that is of use meets the target.
    """
    noise = LEAST_NOISE
    for rate, steps in _hardest_first(plans, target.delta):
        if exceeds_epsilon([(noise, rate, steps)], target.delta, _epsilon(target)):
            noise = _noise_for_plan(target, rate, steps)
    return noise


def _noise_for_plan(target: PrivacyTarget, rate: float, steps: int) -> float:
    return _smallest_noise(
        target,
        lambda noise: precise_epsilon([(noise, rate, steps)], target.delta),
        f"{steps} DP-SGD steps at sampling rate {rate:.3g}",
    )


def noise_for_releases(target: PrivacyTarget, releases: int, places: int = 1) -> float:
    """Return the smallest noise multiplier with which so many releases of clipped records meet the target epsilon.

    Args:
        target: with an epsilon.
        releases: of each record.
        places: that are each clipped by themselves, and may all change with what is replaced: as so many times as many
            releases.

    Raises:
        InputError: no noise that is of use meets the target.
    """
    return _smallest_noise(
        target,
        lambda noise: gaussian_epsilon(composed_mu([(noise, releases * places)]), target.delta),
        f"{releases} releases of each record{f' in all of its {places} places' if places > 1 else ''}",
    )


def _epsilon(target: PrivacyTarget) -> float:
    if target.epsilon is None:
        raise ValueError("noise can be calibrated for a target with an epsilon only")
    return target.epsilon


def _hardest_first(plans: Iterable[tuple[float, int]], delta: float) -> list[tuple[float, int]]:
    """Return the plans that no other one exceeds in rate and steps, as epsilon grows with both.

    First comes what is likely to need most noise, so that hardly any other one needs more: by RDP at a noise of 1.
    """
    kept: list[tuple[float, int]] = []
    for rate, steps in sorted(set(plans), reverse=True):
        if not kept or steps > kept[-1][1]:
            kept.append((rate, steps))
    return sorted(kept, key=lambda plan: rdp_epsilon([(1.0, *plan)], delta), reverse=True)


def _smallest_noise(target: PrivacyTarget, epsilon_of: Callable[[float], float], what: str) -> float:
    """Solve for the noise on a logarithmic scale, where the epsilon falls almost linearly, and round it up."""
    from scipy.optimize import brentq  # scipy takes a while to load

    wanted = _epsilon(target)
    least = epsilon_of(MOST_NOISE)
    if least > wanted:
        raise InputError(
            f"epsilon={wanted:g} at delta={target.delta:g} cannot be met in {what}: noise of {MOST_NOISE:g} times the "
            f"clipping norm gives {rounded_up(least)} still; ask for epsilon={rounded_up(least)} or more, or plan "
            "fewer rounds"
        )
    if epsilon_of(LEAST_NOISE) <= wanted:
        return LEAST_NOISE
    if least == wanted:
        return MOST_NOISE

    def excess(log_noise: float) -> float:
        return math.log(max(epsilon_of(math.exp(log_noise)), TINY) / wanted)

    root = brentq(excess, math.log(LEAST_NOISE), math.log(MOST_NOISE), xtol=TOLERANCE)
    rounded = _rounded_up(min(math.exp(root + TOLERANCE), MOST_NOISE))
    while epsilon_of(rounded) > wanted:  # the root itself may lie on the wrong side by its tolerance
        rounded = _rounded_up(rounded * (1 + 10.0**-DIGITS))
    return rounded


def _rounded_up(noise: float) -> float:
    """Return the noise with `DIGITS` significant digits, never less than it is."""
    unit = 10.0 ** (math.floor(math.log10(noise)) - DIGITS + 1)
    return float(f"{math.ceil(noise / unit) * unit:.{DIGITS}g}")
