"""DP-SGD's mechanism, the Gaussian on a secret Poisson sample: epsilon of a mix of steps, by Opacus's accountants.

One record added or removed. Opacus is loaded when a figure is asked for: it takes seconds.
"""

import math
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from opacus.accountants.analysis.prv import Domain

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

# The numerical error allowed to PRV accounting, as a share of what RDP finds, and the most points of its grid: where
# they would not do, the error grows instead.
PRECISION = 0.004
MOST_POINTS = 2**19
# Beyond these the exponentials and the sums of the PRV accountant lose their digits, and RDP is the figure.
LARGEST_PRECISE_EPSILON = 200.0
LEAST_PRECISE_DELTA = 1e-12


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

    PRV composes numerically, to within `PRECISION` in most cases; it takes a tenth of a second or two for each
    mechanism, and is not asked beyond `LARGEST_PRECISE_EPSILON` and `LEAST_PRECISE_DELTA`.
    """
    counts: dict[tuple[float, float], int] = {}
    for noise, rate, count in steps:
        counts[noise, rate] = counts.get((noise, rate), 0) + count
    return _precise_epsilon(tuple((*mechanism, count) for mechanism, count in counts.items() if count), delta)


def exceeds_epsilon(steps: Steps, delta: float, epsilon: float) -> bool:
    """Return whether the precise epsilon is above ``epsilon``; at once where RDP, an upper bound of it, is not."""
    return rdp_epsilon(steps, delta) > epsilon and precise_epsilon(steps, delta) > epsilon


@lru_cache(maxsize=4096)  # clients share mechanisms, and a retired one is asked about in every round
def _precise_epsilon(steps: tuple[tuple[float, float, int], ...], delta: float) -> float:
    bound = rdp_epsilon(steps, delta)
    if bound == 0.0 or bound > LARGEST_PRECISE_EPSILON or delta < LEAST_PRECISE_DELTA:
        return bound
    return min(bound, _prv_epsilon(steps, delta, PRECISION * bound))


def _prv_epsilon(steps: Steps, delta: float, error: float) -> float:
    """Return epsilon by PRV accounting, its numerical error of ``error`` (or what the grid allows) included."""
    import numpy as np
    from opacus.accountants.analysis.prv import (
        PoissonSubsampledGaussianPRV,
        TruncatedPrivacyRandomVariable,
        compose_heterogeneous,
        discretize,
    )

    tail = delta / 1000
    error, domain = _grid(steps, tail, error)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # Logarithms of zero outside a density's support and slow quadratures there; the bound includes their error.
        warnings.simplefilter("ignore")
        losses = [PoissonSubsampledGaussianPRV(rate, noise) for noise, rate, _ in steps]
        parts = [
            discretize(TruncatedPrivacyRandomVariable(loss, domain.t_min, domain.t_max), domain) for loss in losses
        ]
        whole = compose_heterogeneous(parts, [count for _, _, count in steps])
        _, _, upper = whole.compute_epsilon(delta, tail, error)
    return max(float(upper), 0.0)


def _grid(steps: Steps, tail: float, error: float) -> tuple[float, "Domain"]:
    """Return the numerical error that a grid of `MOST_POINTS` allows, ``error`` at least, and the grid.

    Gopi et al., section 5: a mesh for the error, and a reach beyond which the sum of all losses, and any one of them,
    lies with a probability of a quarter of ``tail`` at most. Its own reach, as Opacus asks RDP anew for each.
    """
    from opacus.accountants.analysis.prv import Domain
    from scipy.fft import next_fast_len

    total = sum(count for _, _, count in steps)
    of_one = [rdp_epsilon([(noise, rate, 1)], tail / (8 * total)) for noise, rate, _ in steps]
    reach = max(rdp_epsilon(steps, tail / 4), *of_one, error) + 3
    mesh_of_one = 1 / math.sqrt(total * math.log(12 / tail) / 2)
    error = max(error, 2 * reach / MOST_POINTS / mesh_of_one)
    mesh = error * mesh_of_one
    half = next_fast_len(math.ceil(reach / mesh), real=True)
    # Half a mesh less: the ends are moved outwards to the next points, without a doubt about which these are.
    end = (half - 0.5) * mesh
    return error, Domain.create_aligned(-end, end, mesh)
