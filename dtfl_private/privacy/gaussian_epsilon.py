"""The Gaussian mechanism, exactly: trade-off functions (Dong, Roth, Su 2019, 1905.02383, sections 2 and 3).

Gaussian noise of standard deviation s on a value that a record moves by D at most is mu-GDP with mu = D/s; composition
adds mu squared.
"""

import math
from collections.abc import Iterable

# A clipped record of norm C may be replaced by its opposite: it moves by twice the clipping norm.
REPLACE_SENSITIVITY = 2.0


def composed_mu(releases: Iterable[tuple[float, int]]) -> float:
    """Return mu of several releases of clipped records, replacing one of them; (noise multiplier, how often) each."""
    return REPLACE_SENSITIVITY * math.sqrt(sum(count / noise_multiplier**2 for noise_multiplier, count in releases))


def gaussian_delta(epsilon: float, mu: float) -> float:
    """Return the smallest delta of a mu-GDP mechanism at ``epsilon`` (Dong et al., corollary 2.13)."""
    from scipy.special import log_ndtr, ndtr  # scipy takes a while to load

    return float(ndtr(mu / 2 - epsilon / mu) - math.exp(epsilon + log_ndtr(-mu / 2 - epsilon / mu)))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Return the smallest epsilon >= 0 of a mu-GDP mechanism at ``delta``."""
    from scipy.optimize import brentq

    if mu == 0 or gaussian_delta(0.0, mu) <= delta:
        return 0.0
    # There the first term alone is at most delta, by the Chernoff bound of the normal tail.
    high = mu**2 / 2 + mu * math.sqrt(2 * math.log(1 / delta))
    return float(brentq(lambda epsilon: gaussian_delta(epsilon, mu) - delta, 0.0, high, xtol=1e-9, rtol=1e-12))
