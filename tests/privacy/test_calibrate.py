import dp_accounting
import pytest
from dp_accounting import pld

from dtfl_private.errors import InputError
from dtfl_private.privacy.calibrate import LEAST_NOISE, MOST_NOISE, noise_for_releases, noise_for_steps
from dtfl_private.privacy.gaussian_epsilon import composed_mu, gaussian_epsilon
from dtfl_private.privacy.sampled_gaussian_epsilon import precise_epsilon, rdp_epsilon
from dtfl_private.protocol.guarantees import PrivacyTarget


def a_target(epsilon, delta=1e-5):
    return PrivacyTarget(delta=delta, epsilon=epsilon)


@pytest.mark.parametrize(
    ("epsilon", "rate", "steps"),
    [(1.0, 0.2, 10), (1.0, 0.01, 2000), (8.0, 0.04, 1250), (50.0, 1.0, 30)],
)
def test_the_noise_for_steps_meets_the_target_and_wastes_nothing(epsilon, rate, steps):
    """Judged by another library's privacy loss distributions; by Renyi DP up to a fifth of the target went unused."""
    noise = noise_for_steps(a_target(epsilon), [(rate, steps)])
    sampled = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(noise))
    accountant = pld.PLDAccountant(value_discretization_interval=4e-4 * epsilon)
    spent = accountant.compose(dp_accounting.SelfComposedDpEvent(sampled, steps)).get_epsilon(1e-5)
    assert 0.98 * epsilon < spent <= epsilon
    assert precise_epsilon([(noise, rate, steps)], 1e-5) <= epsilon < rdp_epsilon([(noise, rate, steps)], 1e-5)


def test_published_noise_multipliers():
    """2,500 images, q = 0.04: epsilon 8 needs 1.11 for 50 rounds and 1.85 for 200."""
    assert noise_for_steps(a_target(8.0), [(0.04, 1250)]) == pytest.approx(1.11, abs=0.01)
    assert noise_for_steps(a_target(8.0), [(0.04, 5000)]) == pytest.approx(1.85, abs=0.01)


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 10.0, 300.0])
@pytest.mark.parametrize("releases", [1, 10, 200])
def test_the_noise_for_releases_meets_the_target_and_hardly_more(epsilon, releases):
    noise = noise_for_releases(a_target(epsilon), releases)
    assert 0.97 * epsilon < gaussian_epsilon(composed_mu([(noise, releases)]), 1e-5) <= epsilon


def test_one_noise_serves_all_clients_and_no_less_would():
    # Neither the highest rate nor the most steps is the hardest here, and the last client is easier than another.
    plans = [(0.5, 20), (0.2, 400), (0.05, 800), (0.2, 100)]
    noise = noise_for_steps(a_target(4.0), plans)
    epsilons = [precise_epsilon([(noise, rate, steps)], 1e-5) for rate, steps in plans]
    assert 0.99 * 4.0 < max(epsilons) <= 4.0
    assert epsilons.index(max(epsilons)) == 1
    assert noise == noise_for_steps(a_target(4.0), plans[1:2])


def test_a_generous_target_asks_for_the_least_noise():
    assert noise_for_releases(a_target(1e9), 1) == LEAST_NOISE
    assert noise_for_steps(a_target(1e9), [(0.1, 10)]) == LEAST_NOISE


@pytest.mark.parametrize(
    ("calibrate", "what"),
    [
        (lambda target: noise_for_steps(target, [(1.0, 10**6)]), "1000000 DP-SGD steps at sampling rate 1"),
        (lambda target: noise_for_releases(target, 10**6), "1000000 releases of each record"),
    ],
)
def test_a_target_beyond_reach_is_refused_and_the_one_within_reach_works(calibrate, what):
    with pytest.raises(InputError, match=rf"epsilon=0\.01 at delta=1e-05 cannot be met in {what}") as refused:
        calibrate(a_target(0.01))
    advised = float(str(refused.value).partition("ask for epsilon=")[2].partition(" or more")[0])
    assert calibrate(a_target(advised)) <= MOST_NOISE


def test_a_target_without_epsilon_is_a_mistake():
    with pytest.raises(ValueError, match="with an epsilon only"):
        noise_for_releases(PrivacyTarget(delta=1e-5), 1)
