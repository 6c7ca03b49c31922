from dataclasses import replace

import pytest

from dtfl_private.privacy.accounting import released_epsilon, sampled_epsilon
from dtfl_private.privacy.budget import exceeds
from dtfl_private.privacy.calibrate import noise_for_steps
from dtfl_private.privacy.ledger import charge
from dtfl_private.privacy.sampled_gaussian_epsilon import precise_epsilon, rdp_epsilon
from dtfl_private.protocol.guarantees import (
    GaussianRelease,
    PrivacyTarget,
    RandomizedResponse,
    ReconstructionBound,
    SampledGaussian,
)


def steps(count, epsilon):
    target = PrivacyTarget(delta=1e-5, epsilon=epsilon)
    return SampledGaussian(noise_multiplier=1.2, sampling_rate=0.1, steps=count, target=target)


def release(epsilon, count=1):
    return GaussianRelease(noise_multiplier=10.0, releases=count, target=PrivacyTarget(delta=1e-5, epsilon=epsilon))


def rounds_within_budget(guarantee):
    ledger, rounds = (), 0
    while not exceeds(ledger, [guarantee]):
        ledger, rounds = charge(ledger, [guarantee]), rounds + 1
        assert rounds < 1000
    return rounds


def test_a_client_takes_part_as_long_as_its_steps_stay_within_the_budget():
    rounds = rounds_within_budget(steps(10, 4.0))
    assert (
        sampled_epsilon([steps(10 * rounds, 4.0)], 1e-5) <= 4.0 < sampled_epsilon([steps(10 * rounds + 10, 4.0)], 1e-5)
    )
    assert rounds > 1


def test_a_budget_of_tokens_counts_a_token_as_the_whole_text_where_places_have_met():
    apart = replace(release(8.0), places=4, apart=True)
    met = replace(apart, apart=False)
    assert rounds_within_budget(apart) == rounds_within_budget(release(8.0))
    assert 3.9 < rounds_within_budget(apart) / rounds_within_budget(met) < 4.2
    spent = (replace(met, releases=rounds_within_budget(met)),)
    assert exceeds(spent, [met])
    # A budget of records counts all places of each.
    assert exceeds((replace(apart, releases=60, target=release(None).target),), [release(8.0)])
    assert not exceeds((release(None, 60),), [release(8.0)])


def test_a_budget_is_checked_by_the_tight_accountant():
    """10,000 steps at a rate of 0.01 with noise 1.8 spend 2.49, of which Renyi DP knows only that it is below 2.70."""
    spent = [(1.8, 0.01, 10_000)]
    assert precise_epsilon(spent, 1e-5) < 2.6 < rdp_epsilon(spent, 1e-5)
    step = SampledGaussian(
        noise_multiplier=1.8, sampling_rate=0.01, steps=1, target=PrivacyTarget(delta=1e-5, epsilon=2.6)
    )
    assert not exceeds((replace(step, steps=9_999),), [step])
    assert exceeds((replace(step, steps=11_999),), [step])


def test_steps_that_were_calibrated_to_use_a_budget_up_may_all_be_taken():
    target = PrivacyTarget(delta=1e-5, epsilon=8.0)
    noise = noise_for_steps(target, [(0.1, 200)])
    step = SampledGaussian(noise_multiplier=noise, sampling_rate=0.1, steps=10, target=target)
    assert not exceeds((replace(step, steps=190),), [step])
    assert exceeds((replace(step, steps=200),), [step])


def test_and_as_long_as_its_releases_do():
    rounds = rounds_within_budget(release(2.0))
    assert released_epsilon([release(2.0, rounds)], 1e-5) <= 2.0 < released_epsilon([release(2.0, rounds + 1)], 1e-5)
    assert rounds > 1


def test_a_budget_may_be_used_up_to_the_last():
    exact = released_epsilon([release(None, 7)], 1e-5)
    assert not exceeds((release(exact, 6),), [release(exact)])
    assert exceeds((release(exact, 7),), [release(exact)])


def test_what_was_spent_under_another_target_counts_too():
    before = (steps(500, None),)
    assert exceeds(before, [steps(10, 4.0)])
    assert not exceeds((), [steps(10, 4.0)])


@pytest.mark.parametrize("kind", [steps(10**6, None), release(None, 10**6)])
def test_without_a_target_epsilon_there_is_no_budget(kind):
    assert not exceeds((kind,), [kind])


def test_a_draw_and_a_bound_have_no_budget():
    entries = (RandomizedResponse(epsilon=1.0), ReconstructionBound(mse=1.0, releases=9))
    assert not exceeds(entries, entries)


def test_one_kind_does_not_spend_the_budget_of_the_other():
    assert not exceeds((steps(10**6, None),), [release(1.0)])
