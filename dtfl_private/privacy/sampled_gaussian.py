"""DP-SGD's mechanism, the Gaussian on a secret Poisson sample: epsilon of a mix of steps, by Opacus's accountants.

One record added or removed. Opacus is loaded when a figure is asked for: it takes seconds.
"""

import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Steps = Sequence[tuple[float, float, int]]
"""(noise multiplier, sampling rate, number of steps) of each mechanism in a mix."""

# Wider than Opacus's own and as dense where it matters: low orders serve large epsilons, high orders small ones.
ORDERS = (
    *(1.01, 1.02, 1.05),
    *(tenth / 10 for tenth in range(11, 40)),
    *(half / 2 for half in range(8, 24)),
    *range(12, 64),
    *(64, 80, 96, 128, 192, 256, 384, 512, 1024),
)

# Above this the grid of the PRV accountant outgrows the memory, and the figure protects nobody.
LARGEST_PRECISE_EPSILON = 30.0


@lru_cache(maxsize=4096)
def _rdp_of_one_step(noise_multiplier: float, sampling_rate: float) -> "NDArray[np.float64]":
    import numpy as np
    from opacus.accountants.analysis.rdp import compute_rdp

    rdp = np.asarray(compute_rdp(q=sampling_rate, noise_multiplier=noise_multiplier, steps=1, orders=list(ORDERS)))
    return np.where(np.isnan(rdp), np.inf, rdp)


def rdp_epsilon(steps: Steps, delta: float) -> float:
    """Return an upper bound on epsilon by Renyi DP (Mironov et al. 2019, 1908.10530); fast, monotone in everything."""
    from opacus.accountants.analysis.rdp import get_privacy_spent

    rdp = sum(count * _rdp_of_one_step(noise, rate) for noise, rate, count in steps if count)
    if isinstance(rdp, int):  # not a single step
        return 0.0
    with warnings.catch_warnings():
        # The bound holds at every order; at the ends of the range it is only looser than it could be.
        warnings.filterwarnings("ignore", message="Optimal order is the (smallest|largest) alpha")
        epsilon, _ = get_privacy_spent(orders=list(ORDERS), rdp=rdp, delta=delta)
    return max(float(epsilon), 0.0)


def precise_epsilon(steps: Steps, delta: float) -> float:
    """Return a tighter upper bound: the lower one of RDP and PRV accounting (Gopi et al. 2021, 2106.02848).

    PRV composes numerically to within 0.01. It is not asked where RDP finds more than `LARGEST_PRECISE_EPSILON`.
    """
    bound = rdp_epsilon(steps, delta)
    if bound == 0.0 or bound > LARGEST_PRECISE_EPSILON:
        return bound
    return min(bound, _prv_epsilon(steps, delta))


def _prv_epsilon(steps: Steps, delta: float) -> float:
    import numpy as np
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = [entry for entry in steps if entry[2]]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # Logarithms of zero outside a density's support and slow quadratures there; the bound includes their error.
        warnings.simplefilter("ignore")
        return max(float(accountant.get_epsilon(delta)), 0.0)
