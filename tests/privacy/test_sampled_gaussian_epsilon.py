"""Opacus's accountants against those of another library, dp-accounting."""

from functools import cache

import dp_accounting
import pytest
from dp_accounting import pld, rdp

from dtfl_private.privacy.gaussian_epsilon import gaussian_epsilon
from dtfl_private.privacy.sampled_gaussian_epsilon import ORDERS, precise_epsilon, rdp_epsilon

DELTA = 1e-5
# A round's steps: a client of 250 images, one of 2,500, and what changes of batch size and noise on the way bring.
MIXES = [
    [(1.16, 0.04, 50 * 25)],
    [(1.95, 0.04, 200 * 25)],
    [(0.8, 0.01, 300)],
    [(2.0, 0.128, 30 * 8), (2.0, 0.064, 10 * 16)],
    [(1.16, 0.04, 300), (1.5, 0.1, 100), (3.0, 0.32, 40)],
    [(6.0, 0.4, 100), (6.0, 1.0, 5)],
    [(20.0, 0.3, 200)],
]


def event(steps):
    events = [
        dp_accounting.SelfComposedDpEvent(
            dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(noise)), count
        )
        for noise, rate, count in steps
    ]
    return dp_accounting.ComposedDpEvent(events)


def by_pld(steps, delta=DELTA):
    return composed(tuple(steps)).get_epsilon(delta)


@cache  # several tests ask for the same, which takes seconds
def composed(steps):
    return pld.PLDAccountant(value_discretization_interval=5e-4).compose(event(steps))


def by_rdp(steps):
    return rdp.RdpAccountant(orders=ORDERS).compose(event(steps)).get_epsilon(DELTA)


@pytest.mark.parametrize("steps", MIXES)
def test_the_precise_epsilon_agrees_with_privacy_loss_distributions_within_a_hundredth(steps):
    assert precise_epsilon(steps, DELTA) == pytest.approx(by_pld(steps), rel=0.01)


@pytest.mark.parametrize("steps", MIXES)
def test_the_fast_epsilon_agrees_with_the_other_librarys_rdp_within_0_02_and_is_never_below_the_true_one(steps):
    assert rdp_epsilon(steps, DELTA) == pytest.approx(by_rdp(steps), abs=0.02)
    assert rdp_epsilon(steps, DELTA) >= by_pld(steps) - 1e-3


def test_the_oracle_rejects_noise_that_is_wrong_by_a_twentieth():
    (noise, rate, count) = MIXES[0][0]
    for wrong in (0.95, 1.05):
        assert precise_epsilon([(wrong * noise, rate, count)], DELTA) != pytest.approx(by_pld(MIXES[0]), rel=0.01)


def test_published_figures_for_2500_images_in_batches_of_100():
    """Epsilon 8 at delta 1e-5 needs noise multiplier 1.16 for 50 rounds and 1.95 for 200."""
    assert rdp_epsilon([(1.16, 0.04, 50 * 25)], DELTA) == pytest.approx(8, abs=0.1)
    assert rdp_epsilon([(1.95, 0.04, 200 * 25)], DELTA) == pytest.approx(8, abs=0.1)


def test_without_sampling_it_is_the_gaussian_mechanism():
    exact = gaussian_epsilon(10**0.5 / 5, DELTA)
    assert exact <= precise_epsilon([(5.0, 1.0, 10)], DELTA) <= 1.01 * exact
    assert rdp_epsilon([(5.0, 1.0, 10)], DELTA) >= exact


def test_equal_mechanisms_are_composed_as_one():
    assert precise_epsilon([(1.2, 0.1, 50), (1.2, 0.1, 50)], DELTA) == precise_epsilon([(1.2, 0.1, 100)], DELTA)


def test_a_delta_too_small_for_numerical_composition_is_left_to_renyi_dp():
    steps = [(1.2, 0.1, 100)]
    assert precise_epsilon(steps, 1e-13) == rdp_epsilon(steps, 1e-13) > rdp_epsilon(steps, 1e-11) > 0
    assert precise_epsilon(steps, 1e-11) == pytest.approx(by_pld(steps, 1e-11), rel=0.01)


def test_a_long_run_of_small_losses_is_composed_on_a_grid_that_fits_the_memory():
    steps = [(2.94, 0.01, 200_000)]
    assert by_pld(steps) < precise_epsilon(steps, DELTA) < 0.95 * rdp_epsilon(steps, DELTA)


@pytest.mark.parametrize("entries", [[], [(1.0, 0.1, 0)]])
def test_no_steps_cost_nothing(entries):
    assert rdp_epsilon(entries, DELTA) == precise_epsilon(entries, DELTA) == 0


def test_how_a_runs_steps_are_cut_into_rounds_changes_nothing():
    whole = rdp_epsilon([(1.2, 0.1, 100)], DELTA)
    assert rdp_epsilon([(1.2, 0.1, 25)] * 4, DELTA) == pytest.approx(whole, rel=1e-12)


def test_hardly_private_mechanisms_have_a_finite_figure_without_numerical_composition():
    noisy = [(0.05, 0.5, 1000)]
    assert 1e4 < rdp_epsilon(noisy, DELTA) == precise_epsilon(noisy, DELTA) < 1e6
