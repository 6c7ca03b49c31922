import math

import numpy as np
import pytest
from scipy import integrate
from scipy.stats import norm

from dtfl_private.privacy.gaussian_epsilon import composed_mu, gaussian_delta, gaussian_epsilon

DELTA = 1e-5


@pytest.mark.parametrize(
    ("noise", "releases", "epsilon"),
    [(1, 1, 9.9973), (1, 100, 284.39), (10, 1, 0.72552), (10, 100, 9.9973), (50, 1, 0.12542), (50, 100, 1.5550)],
)
def test_epsilon_of_repeated_releases_is_the_closed_form_of_gaussian_trade_offs(noise, releases, epsilon):
    """Replace-one, delta 1e-5: mu = 2 sqrt(k) / s."""
    mu = composed_mu([(noise, releases)])
    assert mu == pytest.approx(2 * math.sqrt(releases) / noise)
    assert gaussian_epsilon(mu, DELTA) == pytest.approx(epsilon, rel=1e-4)


@pytest.mark.parametrize("mu", [0.01, 0.3, 1.0, 4.0, 20.0])
@pytest.mark.parametrize("epsilon", [0.0, 0.5, 3.0])
def test_delta_is_the_hockey_stick_divergence_of_two_normal_densities(mu, epsilon):
    def excess(x: float) -> float:
        return max(norm.pdf(x - mu) - math.exp(epsilon) * norm.pdf(x), 0.0)

    crossing = epsilon / mu + mu / 2
    slow, _ = integrate.quad(excess, crossing, crossing + 40, epsabs=1e-13, limit=200)
    assert gaussian_delta(epsilon, mu) == pytest.approx(slow, abs=1e-10)


@pytest.mark.parametrize("delta", [0.1, 1e-5, 1e-12])
@pytest.mark.parametrize("mu", [0.001, 0.05, 1.0, 30.0, 1000.0])
def test_epsilon_gives_its_delta_back(mu, delta):
    epsilon = gaussian_epsilon(mu, delta)
    if epsilon == 0:
        assert gaussian_delta(0, mu) <= delta
    else:
        assert gaussian_delta(epsilon, mu) == pytest.approx(delta, rel=1e-4)


def test_releases_of_several_noise_levels_add_their_information():
    mixed = composed_mu([(10.0, 4), (5.0, 1)])
    assert mixed == pytest.approx(2 * math.sqrt(4 / 100 + 1 / 25))
    # Two releases at 10 are one at 10 / sqrt(2): averaging them is all that an attacker can do.
    assert composed_mu([(10.0, 2)]) == pytest.approx(composed_mu([(10 / math.sqrt(2), 1)]))


def test_the_zcdp_bound_is_looser_than_the_exact_figure():
    for noise, releases in [(1, 1), (20, 200), (50, 100)]:
        rho = 2 * releases / noise**2
        loose = rho + 2 * math.sqrt(rho * math.log(1 / DELTA))
        assert 0.7 * loose < gaussian_epsilon(composed_mu([(noise, releases)]), DELTA) < loose


def test_nothing_released_costs_nothing():
    assert composed_mu([]) == 0
    assert gaussian_epsilon(0.0, DELTA) == 0


def test_epsilon_grows_with_mu_and_falls_with_delta():
    mus = np.geomspace(0.01, 100, 30)
    assert (np.diff([gaussian_epsilon(mu, DELTA) for mu in mus]) >= 0).all()
    deltas = np.geomspace(1e-12, 0.5, 30)
    assert (np.diff([gaussian_epsilon(1.0, delta) for delta in deltas]) <= 0).all()
